import type { CallWindows } from '../../api/call.js';
import { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { secondMs } from '../../base/units.js';

export interface ReceiveWindowOptions {
  /** The widest window of a stream. */
  readonly streamWindowBytes: number;
  /** Memory for bytes that producers have sent and the broker has not read, over all producers. */
  readonly receiveBytes: number;
}

/** The connections whose windows are set. */
export interface WindowedConnections {
  /** Changes the window of all streams of a connection, open and future ones. */
  setStreamWindow(peer: string, streamWindowBytes: number): void;
}

/** A connection with streams that publish or settle. In HTTP/2, one setting covers all of its streams. */
interface Connection {
  windowBytes: number;
  producerCount: number;
  /** The number of streams when the window was last widened. */
  usualCount: number;
  /** Bytes read since then. */
  readBytes: number;
}

/**
 * The receive windows of producers: how many unread bytes a held producer may have with the broker. Every
 * connection begins with a narrow window, which is widened while producers use it and the broker reads. So a
 * thousand producers that are held from the start cost little, and a single one with a long round trip soon has
 * the window that it needs. Many producers that open on a connection with a wide window share that window until
 * they learn of the narrow one, a round trip later.
 */
export class ReceiveWindows implements CallWindows {
  readonly #options: ReceiveWindowOptions;
  readonly #sessions: WindowedConnections;
  readonly #connections = new Map<string, Connection>();
  /** Open streams of producers. */
  #streamCount = 0;
  /** Bytes that all producers may leave unread if they are held now. */
  #grantedBytes = 0;

  constructor(options: ReceiveWindowOptions, sessions: WindowedConnections) {
    this.#options = options;
    this.#sessions = sessions;
  }

  /** The window that a connection begins with. */
  static initialBytes({ streamWindowBytes }: Pick<ReceiveWindowOptions, 'streamWindowBytes'>): number {
    return Math.min(limits.initialWindowBytes, streamWindowBytes);
  }

  get grantedBytes(): number {
    return this.#grantedBytes;
  }

  /** A producer's stream has opened. Throws TOO_MANY_STREAMS if its window would exceed the memory. */
  enter(peer: string): void {
    const windowBytes = ReceiveWindows.initialBytes(this.#options);
    if ((this.#streamCount + 1) * windowBytes > this.#options.receiveBytes / 2) {
      const text = `${this.#streamCount} producers' streams are open, and there is no memory for more: close some, or raise --max-in-flight-bytes`;
      throw new SluiceError('TOO_MANY_STREAMS', text, { retryAfterMs: secondMs });
    }
    this.#streamCount++;
    this.#join(peer);
  }

  /** The stream of a consumer that settles has opened. It may get a wide window too, and is never refused. */
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
    // The next producer on this connection starts with the initial window.
    this.#tell(peer, connection, ReceiveWindows.initialBytes(this.#options));
  }

  /** Bytes of a producer's stream were read: it uses its window. */
  read(peer: string, bytes: number): void {
    const connection = this.#connections.get(peer);
    if (connection === undefined || connection.windowBytes >= this.#options.streamWindowBytes) return;
    connection.readBytes += bytes;
    const { windowBytes, producerCount } = connection;
    if (connection.readBytes < 2 * windowBytes * producerCount) return;
    const widerBytes = Math.min(2 * windowBytes, this.#options.streamWindowBytes);
    const moreBytes = (widerBytes - windowBytes) * producerCount;
    // The other half is reserved for new connections.
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
    this.#sessions.setStreamWindow(peer, windowBytes);
  }
}
