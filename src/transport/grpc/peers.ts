import type { Clock } from '../../base/clock.js';
import { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { TokenBucket } from '../../base/token-bucket.js';
import { secondMs } from '../../base/units.js';

export interface PeerOptions {
  /** Open connections from one address. */
  readonly maxConnectionsPerPeer: number;
  /** Streams that one address may open in a second. */
  readonly maxOpensPerSecond: number;
}

/** The connections from one address. */
interface Host {
  connectionCount: number;
  readonly opens: TokenBucket;
  readonly brokenOpens: TokenBucket;
}

/** One connection, with the figures that limit its calls. */
export class ClientConnection {
  /** Open calls of the connection that are not streams. */
  callCount = 0;
  /** Bytes of its answers that have not left for the transport. */
  answerBytes = 0;
  /** Bytes of requests that are held for its calls. */
  requestBytes = 0;
  /** Bytes of what its streams owe. */
  unreadBytes = 0;
  /** Answers of its calls and streams that have left, so far. */
  leftCount = 0;
  /** Its streams that have ended, and whose last bytes wait for the transport. */
  readonly ending = new Set<{ hasMoved(): boolean }>();
  /** Answers begun in this turn of the event loop. */
  answersInTurn = 0;
  /** Calls that wait for room for their answer, oldest first. */
  readonly waiting = new Set<() => void>();
  /** Its address had too many connections: its calls are refused, and it is closed soon. */
  readonly isSurplus: boolean;
  /** Closes the connection at once. */
  readonly cut: () => void;
  /** Undefined if the transport has no addresses: a Unix socket. */
  readonly #host: Host | undefined;
  readonly #freeOpens: TokenBucket;
  readonly #refusals: TokenBucket;
  #seenLeftCount = 0;
  #hadUnread = false;
  #unreadSinceMs = 0;

  constructor(host: Host | undefined, isSurplus: boolean, nowMs: number, cut: () => void) {
    this.#host = host;
    this.isSurplus = isSurplus;
    this.cut = cut;
    this.#freeOpens = new TokenBucket(limits.freeOpensPerSecond, 2 * limits.freeOpensPerSecond, nowMs);
    this.#refusals = new TokenBucket(limits.refusalsPerSecond, limits.refusalsPerSecond, nowMs);
  }

  /** It stands for all connections over Unix sockets. */
  get isShared(): boolean {
    return this.#host === undefined;
  }

  get mayHaveMoreCalls(): boolean {
    return this.#host === undefined || this.callCount < limits.callsPerConnection;
  }

  /** A connection that opens few streams may continue to do so if its address opens too many. */
  mayOpen(nowMs: number): boolean {
    return this.#host === undefined || this.#freeOpens.take(nowMs) || this.#host.opens.take(nowMs);
  }

  /** To be asked now and then: how long it has had unread answers without reading any. */
  stuckForMs(nowMs: number): number {
    for (const stream of this.ending) if (stream.hasMoved()) this.leftCount += 1;
    const hasUnread = this.answerBytes + this.unreadBytes > 0;
    const isStuck = hasUnread && this.#hadUnread && this.leftCount === this.#seenLeftCount;
    this.#hadUnread = hasUnread;
    this.#seenLeftCount = this.leftCount;
    if (!isStuck) this.#unreadSinceMs = nowMs;
    return nowMs - this.#unreadSinceMs;
  }

  /** A call was refused. A connection that continues to call hundreds of times a second is closed. */
  refused(nowMs: number): void {
    if (this.#host !== undefined && !this.#refusals.take(nowMs)) this.cut();
  }

  /** A call was reset before the broker could begin it. An address that does that all the time is an attacker. */
  broke(nowMs: number): void {
    if (this.#host !== undefined && !this.#host.brokenOpens.take(nowMs)) this.cut();
  }
}

/** The connections of a server, and the limits of their addresses. */
export class Peers {
  readonly #options: PeerOptions;
  readonly #clock: Clock;
  readonly #hosts = new Map<string, Host>();
  readonly #connections = new Map<string, ClientConnection>();
  /** All connections over Unix sockets: they have no addresses to distinguish them. */
  readonly #local: ClientConnection;
  #cutCount = 0;

  constructor(options: PeerOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
    this.#local = new ClientConnection(undefined, false, clock.monotonicMs(), () => {});
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Connections that were closed because of their client's behaviour. */
  get cutCount(): number {
    return this.#cutCount;
  }

  get connections(): Iterable<ClientConnection> {
    return this.#connections.values();
  }

  /** A client has connected. `cut` closes the connection at once. */
  connected(address: string, peer: string, cut: () => void): ClientConnection {
    const nowMs = this.#clock.monotonicMs();
    const { maxConnectionsPerPeer, maxOpensPerSecond } = this.#options;
    let host = this.#hosts.get(address);
    if (host === undefined) {
      host = {
        connectionCount: 0,
        opens: new TokenBucket(maxOpensPerSecond, limits.opensBurstSeconds * maxOpensPerSecond, nowMs),
        brokenOpens: new TokenBucket(limits.brokenOpensPerSecond, limits.brokenOpensBurst, nowMs),
      };
      this.#hosts.set(address, host);
    }
    host.connectionCount++;
    let isCut = false;
    const cutOnce = (): void => {
      if (isCut) return;
      isCut = true;
      this.#cutCount++;
      cut();
    };
    const surplus = host.connectionCount - maxConnectionsPerPeer;
    const connection = new ClientConnection(host, surplus > 0, nowMs, cutOnce);
    this.#connections.set(peer, connection);
    // It stays open for a moment, so that its first call gets the reason; but not in a flood of such connections.
    if (surplus > limits.surplusConnections) cutOnce();
    else if (surplus > 0) this.#clock.after(limits.surplusConnectionMs, cutOnce);
    return connection;
  }

  /** `connection` is what `connected` returned: a client may have connected again from the same port. */
  disconnected(address: string, peer: string, connection: ClientConnection): void {
    if (this.#connections.get(peer) === connection) this.#connections.delete(peer);
    const host = this.#hosts.get(address);
    if (host === undefined) return;
    host.connectionCount--;
    // The counts of an address are kept for a time after its last connection has closed.
    if (host.connectionCount === 0) this.#clock.after(limits.forgetHostMs, () => this.#forget(address, host));
  }

  connectionOf(peer: string): ClientConnection {
    return this.#connections.get(peer) ?? this.#local;
  }

  tooManyConnections(): SluiceError {
    const text = `this address has ${this.#options.maxConnectionsPerPeer} connections open, and no more are allowed: share one among its calls, or raise --max-connections-per-peer`;
    return new SluiceError('TOO_MANY_CONNECTIONS', text, { retryAfterMs: secondMs });
  }

  tooManyOpens(): SluiceError {
    const text = `this address may open ${this.#options.maxOpensPerSecond} streams a second: keep streams open, or raise --max-opens-per-second`;
    return new SluiceError('TOO_MANY_OPENS', text, { retryAfterMs: secondMs });
  }

  #forget(address: string, host: Host): void {
    if (host.connectionCount === 0 && this.#hosts.get(address) === host) this.#hosts.delete(address);
  }
}
