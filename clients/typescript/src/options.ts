import {
  type CallCredentials,
  type ChannelCredentials,
  type ChannelOptions,
  credentials,
  Metadata,
} from '@grpc/grpc-js';
import type { ConnectionState } from './connection-states.js';

/** The certificates of a TLS connection. */
export interface TlsOptions {
  /** Trusted authorities, PEM. Default: the authorities that the system trusts. */
  readonly ca?: Uint8Array;
  /** The certificate of the client, PEM, if the broker asks for one. */
  readonly cert?: Uint8Array;
  /** The private key of `cert`, PEM. */
  readonly key?: Uint8Array;
  /** The name in the broker's certificate, if it differs from the name of the target. */
  readonly serverName?: string;
}

/** Names in lower case, and their values. */
export type MetadataValues = Readonly<Record<string, string>>;

/** Settings of a connection. Every one has a default. */
export interface ConnectOptions {
  /** `true` for TLS with the defaults. Default: plaintext. */
  readonly tls?: boolean | TlsOptions;
  /**
   * Sent with every call: `{ authorization: 'Bearer …' }`. A function is called before each call, for tokens that
   * expire;
   * a call for which it throws fails with UNKNOWN.
   */
  readonly metadata?: MetadataValues | (() => MetadataValues | Promise<MetadataValues>);
  /**
   * HTTP/2 receive window of every stream and of the connection: how many bytes the broker may have under way to
   * this client.
   * The default of gRPC, 64 KiB, limits a stream to 64 KiB for each round trip. Default 1 MiB.
   */
  readonly windowBytes?: number;
  /** The largest response that the client accepts. Default 64 MiB. */
  readonly maxReceiveBytes?: number;
  /** The largest request that the client sends. Default: the limit of the broker. */
  readonly maxSendBytes?: number;
  /**
   * Called with each change of the connection's state, also when an attempt has failed that a producer or a consumer
   * repeats. Default: none.
   */
  readonly onConnectionState?: (state: ConnectionState) => void;
  /** `write()` of a stream waits while the transport has not taken this many bytes. Default 1 MiB. */
  readonly sendBufferBytes?: number;
}

const MiB = 1024 * 1024;

export const defaults = {
  windowBytes: 1 * MiB,
  maxReceiveBytes: 64 * MiB,
  sendBufferBytes: 1 * MiB,
  reconnectMinBackoffMs: 50,
  reconnectMaxBackoffMs: 5_000,
  connectTimeoutMs: 20_000,
  keepaliveEveryMs: 20_000,
  keepaliveTimeoutMs: 10_000,
} as const;

export function toCredentials(tls: ConnectOptions['tls']): ChannelCredentials {
  if (tls === undefined || tls === false) return credentials.createInsecure();
  const { ca, cert, key } = tls === true ? ({} as TlsOptions) : tls;
  return credentials.createSsl(toBuffer(ca), toBuffer(key), toBuffer(cert));
}

export function toChannelOptions(target: string, options: ConnectOptions): ChannelOptions {
  const channel: ChannelOptions = {
    'grpc-node.flow_control_window': options.windowBytes ?? defaults.windowBytes,
    'grpc.max_receive_message_length': options.maxReceiveBytes ?? defaults.maxReceiveBytes,
    'grpc.max_send_message_length': options.maxSendBytes ?? -1,
    // Connections are not shared with other clients of this process, so that their windows and ends are its own.
    'grpc.use_local_subchannel_pool': 1,
    // The client finds a broker that returns within seconds, however long the broker was away.
    'grpc.initial_reconnect_backoff_ms': defaults.reconnectMinBackoffMs,
    'grpc.max_reconnect_backoff_ms': defaults.reconnectMaxBackoffMs,
    // Pings detect a broker that vanished without a reset, also while no call is open.
    'grpc.keepalive_permit_without_calls': 1,
    'grpc.client_idle_timeout_ms': 2 ** 31 - 1,
    'grpc.keepalive_time_ms': defaults.keepaliveEveryMs,
    'grpc.keepalive_timeout_ms': defaults.keepaliveTimeoutMs,
  };
  if (typeof options.tls === 'object' && options.tls.serverName !== undefined) {
    channel['grpc.ssl_target_name_override'] = options.tls.serverName;
  }
  // A proxy can't reach this machine's own loopback address.
  if (/^(dns:(\/\/\/)?)?(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/.test(target)) {
    channel['grpc.enable_http_proxy'] = 0;
  }
  return channel;
}

/** Metadata that the client requests when a call begins. */
export function toCallCredentials(ask: () => MetadataValues | Promise<MetadataValues>): CallCredentials {
  return credentials.createFromMetadataGenerator((_call, answer) => {
    (async () => toMetadata(await ask()))().then(
      (metadata) => answer(null, metadata),
      (error: unknown) => answer(error instanceof Error ? error : new Error(String(error))),
    );
  });
}

export function toMetadata(...sources: (MetadataValues | undefined)[]): Metadata {
  const metadata = new Metadata();
  for (const source of sources) {
    for (const [name, value] of Object.entries(source ?? {})) metadata.set(name, value);
  }
  return metadata;
}

function toBuffer(bytes: Uint8Array | undefined): Buffer | null {
  return bytes === undefined ? null : Buffer.from(bytes);
}
