import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import {
  Client,
  type ClientDuplexStream,
  credentials,
  type ServiceError,
  type StatusObject,
} from '@grpc/grpc-js';
import type { Api } from '../../src/api/methods.js';
import { createApi } from '../../src/api/sluice-v1/api.js';
import type { ScanLimits } from '../../src/api/sluice-v1/publish-scan.js';
import { systemClock } from '../../src/base/clock.js';
import { limits } from '../../src/base/limits.js';
import { type Logger, silentLogger } from '../../src/base/logger.js';
import { SpareMemory } from '../../src/base/spare-memory.js';
import type { Broker } from '../../src/broker/types.js';
import {
  defaultServerOptions,
  type RunningServer,
  type ServerOptions,
  startServer,
} from '../../src/transport/grpc/server.js';
import { methodPath } from '../../src/transport/grpc/service-definition.js';
import { fromStatus, type ReceivedError } from '../../src/transport/grpc/status.js';
import type { Guard } from '../../src/transport/guards/guard.js';
import { Inbox } from './inbox.js';

export interface Harness {
  readonly server: RunningServer;
  readonly client: Client;
  close(): Promise<void>;
}

/** The API over this broker, with the limits of a server. */
export function apiOf(broker: Broker, options: Partial<ScanLimits> = {}): Api {
  return createApi({
    broker,
    clock: systemClock,
    scanLimits: {
      maxMessageBytes: limits.maxMessageBytes,
      maxRequestBytes: limits.maxRequestBytes,
      ...options,
    },
    frameMemory: new SpareMemory(limits.spareFrameBytes),
  });
}

/** A server on a free port, and a client of it. */
export async function startHarness(
  broker: Broker,
  options: Partial<ServerOptions & ScanLimits> = {},
  logger: Logger = silentLogger,
  guards: readonly Guard[] = [],
): Promise<Harness> {
  const server = await startServer(
    apiOf(broker, options),
    { ...defaultServerOptions, listen: '127.0.0.1:0', drainGraceMs: 5_000, ...options },
    { clock: systemClock, guards, logger },
  );
  const client = new Client(server.address, credentials.createInsecure());
  return {
    server,
    client,
    async close() {
      client.close();
      await server.close();
    },
  };
}

type Method<I extends DescMessage, O extends DescMessage> = Pick<
  DescMethodUnary<I, O>,
  'input' | 'output' | 'name' | 'parent'
>;

/** Calls a unary method; rejects with a ServiceError. */
export function callUnary<I extends DescMessage, O extends DescMessage>(
  client: Client,
  method: Method<I, O>,
  request: MessageInitShape<I>,
): Promise<MessageShape<O>> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      methodPath(method),
      (bytes: Uint8Array) => Buffer.from(bytes),
      (bytes) => fromBinary(method.output, bytes),
      toBinary(method.input, create(method.input, request)),
      (error, response) => (error === null ? resolve(response as MessageShape<O>) : reject(error)),
    );
  });
}

/** What a call failed with; it is an error when it did not fail, or not with an error of ours. */
export async function failureOf(call: Promise<unknown>): Promise<ReceivedError> {
  const error = await call.then(
    () => {
      throw new Error('the call did not fail');
    },
    (thrown: ServiceError) => thrown,
  );
  return receivedError(error);
}

export function receivedError(status: StatusObject | ServiceError): ReceivedError {
  const received = fromStatus(status);
  if (received === undefined) throw new Error(`no details of Sluice in ${status.code}: ${status.details}`);
  return received;
}

/** A stream of either kind: requests as messages or as any bytes, responses and status to wait for. */
export class TestStream<I extends DescMessage, O extends DescMessage> {
  readonly responses = new Inbox<MessageShape<O>>();
  readonly status: Promise<StatusObject>;
  readonly headers: Promise<void>;
  readonly #call: ClientDuplexStream<Buffer, object>;
  readonly #input: I;

  constructor(client: Client, method: Method<I, O>) {
    this.#input = method.input;
    this.#call = client.makeBidiStreamRequest(
      methodPath(method),
      (bytes: Buffer) => bytes,
      (bytes) => fromBinary(method.output, bytes) as object,
    );
    this.#call.on('data', (response: MessageShape<O>) => this.responses.push(response));
    // The status says the same.
    this.#call.on('error', () => {});
    this.status = new Promise((resolve) => this.#call.on('status', resolve));
    this.headers = new Promise((resolve) => this.#call.on('metadata', () => resolve()));
  }

  send(request: MessageInitShape<I>): boolean {
    return this.sendBytes(toBinary(this.#input, create(this.#input, request)));
  }

  sendBytes(bytes: Uint8Array): boolean {
    return this.#call.write(Buffer.from(bytes));
  }

  halfClose(): void {
    this.#call.end();
  }

  cancel(): void {
    this.#call.cancel();
  }

  /** Stops taking responses off the transport. */
  pause(): void {
    this.#call.pause();
  }

  resume(): void {
    this.#call.resume();
  }
}

/** Collects what is logged. */
export function recordingLogger(): Logger & { readonly errors: { fields: object; message: string }[] } {
  const errors: { fields: object; message: string }[] = [];
  return { ...silentLogger, errors, error: (fields, message) => void errors.push({ fields, message }) };
}
