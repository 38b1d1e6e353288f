import type { DescMethod } from '@bufbuild/protobuf';
import type { BrokerAccess } from './broker-access.js';
import { type ByteStream, createServiceClient, openBytes } from './calls.js';
import { Connection } from './connection.js';
import type { ConnectionStates } from './connection-states.js';
import { Consumer } from './consumer/consumer.js';
import type { ConsumerOptions } from './consumer/options.js';
import type { SluiceError } from './errors.js';
import { Admin } from './gen/sluice/v1/admin_pb.js';
import { Broker } from './gen/sluice/v1/broker_pb.js';
import type { ConnectOptions } from './options.js';
import type { ProducerOptions } from './producer/options.js';
import { Producer } from './producer/producer.js';

/**
 * A connection to a broker. It connects with the first call. If the broker cannot be reached, the call fails with
 * UNAVAILABLE, and producers and consumers try again. `onConnectionState` is called at each change of the connection.
 */
export class Client implements BrokerAccess {
  /** The calls of producers and consumers. */
  readonly broker: BrokerAccess['broker'];
  /** Manages topics and subscriptions, and inspects the broker. */
  readonly admin: BrokerAccess['admin'];
  readonly #connection: Connection;

  /** `target` is `host:port`, or any gRPC name. */
  constructor(target: string, options: ConnectOptions = {}) {
    this.#connection = new Connection(target, options);
    this.broker = createServiceClient(Broker, this.#connection);
    this.admin = createServiceClient(Admin, this.#connection);
  }

  /** Same as `Producer.open`: claims the name of the producer and returns a producer that can send. */
  producer(options: ProducerOptions): Promise<Producer> {
    return Producer.open(this, options);
  }

  /** Same as `new Consumer`. The consumer begins to receive when it is run or iterated. */
  consumer(options: ConsumerOptions): Consumer {
    return new Consumer(this, options);
  }

  /**
   * The cause why a call could not reach the broker, for example "the broker at HOST:PORT speaks TLS, and this client
   * does not"; undefined if the connection is not the cause. May probe the protocol of the peer, for up to two seconds.
   */
  causeOf(error: SluiceError): Promise<string | undefined> {
    return this.#connection.states.causeOf(error);
  }

  /**
   * Accepts no more calls, and closes the connection when the calls under way have ended. Close producers and
   * consumers first.
   */
  close(): void {
    this.#connection.close();
  }

  /** @internal */
  get connectionStates(): ConnectionStates {
    return this.#connection.states;
  }

  /** @internal */
  openBytes(method: DescMethod): ByteStream {
    return openBytes(method, this.#connection);
  }
}

/** The same type under another name, for code that also uses another `Client`. */
export type SluiceClient = Client;

/** A client of the broker at `target`; see `Client`. */
export function connect(target: string, options: ConnectOptions = {}): Client {
  return new Client(target, options);
}
