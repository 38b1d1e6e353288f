import type { DescMethod } from '@bufbuild/protobuf';
import type { GenService, GenServiceMethods } from '@bufbuild/protobuf/codegenv2';
import { Client as GrpcClient } from '@grpc/grpc-js';
import {
  type ByteStream,
  type Connection,
  createServiceClient,
  openBytes,
  type ServiceClient,
} from './calls.js';
import { Consumer } from './consumer/consumer.js';
import type { ConsumerOptions } from './consumer/options.js';
import { Admin } from './gen/sluice/v1/admin_pb.js';
import { Broker } from './gen/sluice/v1/broker_pb.js';
import { type ConnectOptions, toChannelOptions, toCredentials } from './options.js';
import type { ProducerOptions } from './producer/options.js';
import { Producer } from './producer/producer.js';

/** What a generated service consists of. */
type MethodsOf<S> = S extends GenService<infer M extends GenServiceMethods> ? M : never;

/**
 * One connection to a broker. Connects with the first call: a broker that can't be reached makes that call fail with
 * UNAVAILABLE, and producers and consumers try again.
 */
export class Client {
  /** Produce and consume, call by call. */
  readonly broker: ServiceClient<MethodsOf<typeof Broker>>;
  /** Topics, subscriptions, and looking inside. */
  readonly admin: ServiceClient<MethodsOf<typeof Admin>>;
  readonly #connection: Connection;

  /** `target` is `host:port`, or any gRPC name. */
  constructor(target: string, options: ConnectOptions = {}) {
    const grpc = new GrpcClient(target, toCredentials(options.tls), toChannelOptions(target, options));
    this.#connection = { grpc, options, isClosed: false };
    this.broker = createServiceClient(Broker, this.#connection);
    this.admin = createServiceClient(Admin, this.#connection);
  }

  /** As `Producer.open`: asks the broker where this producer ended, and is ready to send. */
  producer(options: ProducerOptions): Promise<Producer> {
    return Producer.open(this, options);
  }

  /** As `new Consumer`: begins when it is run or iterated. */
  consumer(options: ConsumerOptions): Consumer {
    return new Consumer(this, options);
  }

  /** Takes no more calls, and ends the connection once those under way are over. Close producers and consumers first. */
  close(): void {
    this.#connection.isClosed = true;
    this.#connection.grpc.close();
  }

  /** @internal */
  openBytes(method: DescMethod): ByteStream {
    return openBytes(method, this.#connection);
  }
}

/** The same, where another `Client` is about. */
export type SluiceClient = Client;

/** A client of the broker at `target`; see `Client`. */
export function connect(target: string, options: ConnectOptions = {}): Client {
  return new Client(target, options);
}
