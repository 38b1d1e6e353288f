import { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { secondMs } from '../../base/units.js';

export interface ReceiveWindowOptions {
  /** The widest window of a stream. */
  readonly streamWindowBytes: number;
  /** Memory for what producers have sent and the broker has not read, over all of them. */
  readonly receiveBytes: number;
  /** Changes the window of every stream of a connection, those that are open and those to come. */
  readonly apply: (peer: string, streamWindowBytes: number) => void;
}

/** A connection on which somebody publishes or settles. HTTP/2 has one window for all streams of it. */
interface Connection {
  windowBytes: number;
  producerCount: number;
  /** How many there were when the window was last widened. */
  usualCount: number;
  /** Read since then. */
  readBytes: number;
}

/**
 * The receive windows of producers: what one that is held may leave with the broker. Every connection begins with a
 * narrow one, and it is widened while producers use it and the broker reads: so a thousand producers that are held
 * from the start cost little, and a single one with a long round trip soon has the window that it needs. Many producers that open on a
 * connection with a wide window share that window until they learn of the narrow one, a round trip later.
 */
export class ReceiveWindows {
  readonly #options: ReceiveWindowOptions;
  readonly #connections = new Map<string, Connection>();
  /** Of producers. */
  #streamCount = 0;
  /** What all of them may leave here, if they are held now. */
  #grantedBytes = 0;

  constructor(options: ReceiveWindowOptions) {
    this.#options = options;
  }

  /** What a connection begins with. */
  static initialBytes({ streamWindowBytes }: Pick<ReceiveWindowOptions, 'streamWindowBytes'>): number {
    return Math.min(limits.initialWindowBytes, streamWindowBytes);
  }

  get grantedBytes(): number {
    return this.#grantedBytes;
  }

  /** A producer's stream. Throws TOO_MANY_STREAMS where it could leave more here than there is memory for. */
  enter(peer: string): void {
    const windowBytes = ReceiveWindows.initialBytes(this.#options);
    if ((this.#streamCount + 1) * windowBytes > this.#options.receiveBytes / 2) {
      const text = `${this.#streamCount} producers' streams are open, and there is no memory for more: close some, or raise --max-in-flight-bytes`;
      throw new SluiceError('TOO_MANY_STREAMS', text, { retryAfterMs: secondMs });
    }
    this.#streamCount++;
    this.#join(peer);
  }

  /** A consumer's stream that settles: it may have a wide window as well, and is never refused. */
  enterConsumer(peer: string): void {
    this.#join(peer);
  }

  leaveConsumer(peer: string): void {
    this.#part(peer);
  }

  #join(peer: string): void {
    const windowBytes = ReceiveWindows.initialBytes(this.#options);
    let connection = this.#connections.get(peer);
    if (connection === undefined) {
      connection = { windowBytes, producerCount: 0, usualCount: 1, readBytes: 0 };
      this.#connections.set(peer, connection);
    }
    connection.producerCount++;
    this.#grantedBytes += connection.windowBytes;
    if (connection.producerCount > 2 * connection.usualCount) this.#set(peer, connection, windowBytes);
  }

  leave(peer: string): void {
    this.#streamCount--;
    this.#part(peer);
  }

  #part(peer: string): void {
    const connection = this.#connections.get(peer);
    if (connection === undefined) return;
    connection.producerCount--;
    this.#grantedBytes -= connection.windowBytes;
    if (connection.producerCount > 0) return;
    this.#connections.delete(peer);
    // The next producer on this connection starts with the initial window, like the accounting.
    this.#tell(peer, connection, ReceiveWindows.initialBytes(this.#options));
  }

  /** So much of a producer's stream was read: it keeps its window in use. */
  read(peer: string, bytes: number): void {
    const connection = this.#connections.get(peer);
    if (connection === undefined || connection.windowBytes >= this.#options.streamWindowBytes) return;
    connection.readBytes += bytes;
    const { windowBytes, producerCount } = connection;
    if (connection.readBytes < 2 * windowBytes * producerCount) return;
    const widerBytes = Math.min(2 * windowBytes, this.#options.streamWindowBytes);
    const moreBytes = (widerBytes - windowBytes) * producerCount;
    // The other half is for those who come.
    if (this.#grantedBytes + moreBytes <= this.#options.receiveBytes / 2) {
      this.#set(peer, connection, widerBytes);
    }
    connection.readBytes = 0;
  }

  #set(peer: string, connection: Connection, windowBytes: number): void {
    connection.usualCount = connection.producerCount;
    connection.readBytes = 0;
    this.#grantedBytes += (windowBytes - connection.windowBytes) * connection.producerCount;
    this.#tell(peer, connection, windowBytes);
  }

  #tell(peer: string, connection: Connection, windowBytes: number): void {
    if (connection.windowBytes === windowBytes) return;
    connection.windowBytes = windowBytes;
    this.#options.apply(peer, windowBytes);
  }
}
