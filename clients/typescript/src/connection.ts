import { type ChannelInterface, connectivityState, Client as GrpcClient } from '@grpc/grpc-js';
import { ConnectionStates } from './connection-states.js';
import { SluiceError, StatusCode } from './errors.js';
import { type ConnectOptions, defaults, toChannelOptions, toCredentials } from './options.js';

/** The channel to a broker, and the options of its calls. */
export class Connection {
  readonly options: ConnectOptions;
  readonly states: ConnectionStates;
  readonly #target: string;
  #grpc: GrpcClient;
  #isClosed = false;
  #connecting: NodeJS.Timeout | undefined;

  constructor(target: string, options: ConnectOptions) {
    this.options = options;
    this.#target = target;
    const hasTls = options.tls !== undefined && options.tls !== false;
    this.states = new ConnectionStates(target, hasTls, options.onConnectionState);
    this.#grpc = this.#open();
  }

  get grpc(): GrpcClient {
    return this.#grpc;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#connecting);
    this.states.close();
    this.#grpc.close();
  }

  #open(): GrpcClient {
    const { tls } = this.options;
    const grpc = new GrpcClient(
      this.#target,
      toCredentials(tls),
      toChannelOptions(this.#target, this.options),
    );
    const channel = grpc.getChannel();
    this.#watch(channel, channel.getConnectivityState(false));
    return grpc;
  }

  #watch(channel: ChannelInterface, last: connectivityState): void {
    channel.watchConnectivityState(last, Number.POSITIVE_INFINITY, () => {
      if (this.#isClosed || channel !== this.#grpc.getChannel()) return;
      const state = channel.getConnectivityState(false);
      this.#changed(last, state);
      this.#watch(channel, state);
    });
  }

  #changed(last: connectivityState, state: connectivityState): void {
    clearTimeout(this.#connecting);
    this.#connecting = undefined;
    if (state === connectivityState.READY) this.states.answered();
    else if (last === connectivityState.READY) this.states.lost();
    if (state !== connectivityState.CONNECTING) return;
    this.states.connecting();
    this.#connecting = setTimeout(() => this.#giveUpConnecting(), defaults.connectTimeoutMs).unref();
  }

  /** Opens a new connection: the library waits without limit for the first bytes of a peer that has accepted one. */
  #giveUpConnecting(): void {
    const silent = this.#grpc;
    this.#grpc = this.#open();
    const text = `no answer within ${defaults.connectTimeoutMs} ms`;
    const fields = { code: StatusCode.UNAVAILABLE, reason: 'UNAVAILABLE' };
    this.states.failed(new SluiceError(text, fields), undefined);
    silent.close();
  }
}
