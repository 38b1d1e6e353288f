import type { Clock, Timer } from '../../base/clock.js';
import { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { Reason } from '../../base/reasons.js';
import { secondMs } from '../../base/units.js';
import type { Answers } from './answers.js';
import { type HalfOpenStream, HalfOpenStreams } from './half-open-streams.js';
import type { OpenCall } from './open-call.js';
import type { ClientConnection, Peers } from './peers.js';
import type { RequestBodies } from './request-bodies.js';
import type { Route } from './routes.js';
import type { StreamAnswers } from './stream-answers.js';

export interface CallTableOptions {
  readonly routes: ReadonlyMap<string, Route>;
  readonly peers: Peers;
  readonly answers: Answers;
  readonly streamAnswers: StreamAnswers;
  readonly bodies: RequestBodies;
  readonly clock: Clock;
  /** Open streams, over all connections. */
  readonly maxStreams: number;
  /** Open calls that are not streams, over all connections. */
  readonly maxCalls: number;
}

/**
 * The open calls of one server. Limits the number of streams and other calls, and the rate at which streams are opened.
 * Ends calls whose request does not arrive in time. Ends all calls when the server drains. A call reports the events of
 * its life here, in this order: `opened`, `awaitRequest`, `receiving`, `answering`, `answered`, `closed`.
 */
export class CallTable {
  readonly #options: CallTableOptions;
  /** In the order of `waitingSinceMs`. */
  readonly #open = new Set<OpenCall>();
  /** The open calls without a status. */
  readonly #unanswered = new Set<OpenCall>();
  readonly #refusals = new Map<Reason, number>();
  readonly #halfOpen: HalfOpenStreams;
  #onAllAnswered: () => void = () => {};
  #streamCount = 0;
  #callCount = 0;
  #draining: SluiceError | undefined;
  #sweep: Timer | undefined;

  constructor(options: CallTableOptions) {
    this.#options = options;
    this.#halfOpen = new HalfOpenStreams(options.clock);
  }

  get streamCount(): number {
    return this.#streamCount;
  }

  /** Open calls that are not streams. */
  get callCount(): number {
    return this.#callCount;
  }

  /** Calls that were refused because of a limit, or because their request did not arrive. */
  get refusals(): ReadonlyMap<Reason, number> {
    return this.#refusals;
  }

  /** Undefined for a service of grpc-js. */
  route(path: string): Route | undefined {
    return this.#options.routes.get(path);
  }

  /** Registers a call until it is `closed`. Throws if there is no room for it. */
  opened(call: OpenCall): void {
    if (call.kind !== 'delegated' && this.#draining !== undefined) throw this.#draining;
    const connection = this.#options.peers.connectionOf(call.peer);
    const nowMs = this.#options.clock.monotonicMs();
    const refusal = this.#refusal(call, connection, nowMs);
    if (refusal !== undefined) {
      this.#count(refusal.reason);
      connection.refused(nowMs);
      throw refusal;
    }
    call.entry = {
      connection,
      owed: this.#options.streamAnswers.open(connection),
      waitingSinceMs: nowMs,
      answerBytes: 0,
      requestBytes: 0,
      waitingAnswer: undefined,
    };
    if (call.kind === 'stream') this.#streamCount++;
    else {
      this.#callCount++;
      connection.callCount++;
    }
    this.#open.add(call);
    this.#unanswered.add(call);
    this.#sweep ??= this.#options.clock.after(secondMs, () => this.#sweepOverdue());
  }

  #refusal(call: OpenCall, connection: ClientConnection, nowMs: number): SluiceError | undefined {
    const { peers, maxStreams, maxCalls } = this.#options;
    if (connection.isSurplus) return peers.tooManyConnections();
    if (call.kind === 'stream') {
      if (this.#streamCount >= maxStreams) {
        const text = `${maxStreams} streams are open, and no more are allowed: close some, or raise the limit`;
        return new SluiceError('TOO_MANY_STREAMS', text, { retryAfterMs: secondMs });
      }
      return connection.mayOpen(nowMs) ? undefined : peers.tooManyOpens();
    }
    if (!connection.mayHaveMoreCalls) {
      const text = `${limits.callsPerConnection} calls are open on this connection, and no more are allowed: wait for their answers`;
      return new SluiceError('TOO_MANY_CALLS', text, { retryAfterMs: secondMs });
    }
    // The last places are reserved for connections with few calls.
    const isFull = this.#callCount >= (connection.callCount < limits.freeCalls ? 2 * maxCalls : maxCalls);
    if (!isFull) return undefined;
    const text = `${this.#callCount} calls are open, and no more are allowed: try again, or raise --max-calls`;
    return new SluiceError('TOO_MANY_CALLS', text, { retryAfterMs: secondMs });
  }

  /** The guards have allowed the call: the time limit for its request begins now. */
  awaitRequest(call: OpenCall): void {
    if (!this.#open.delete(call)) return;
    call.entry!.waitingSinceMs = this.#options.clock.monotonicMs();
    this.#open.add(call);
  }

  /** The call was reset before anything was begun. */
  broke(call: OpenCall): void {
    call.entry?.connection.broke(this.#options.clock.monotonicMs());
  }

  /** A request of this size begins to arrive. Throws if there is no memory for it. */
  receiving(call: OpenCall, bytes: number): void {
    const { entry } = call;
    if (entry === undefined || !this.#open.has(call)) return;
    const refusal = this.#options.bodies.take(entry.connection, bytes);
    if (refusal !== undefined) {
      this.#count(refusal.reason);
      entry.connection.refused(this.#options.clock.monotonicMs());
      throw refusal;
    }
    entry.requestBytes += bytes;
  }

  /** The request is no longer in memory. */
  letRequestGo({ entry }: OpenCall): void {
    if (entry === undefined || entry.requestBytes === 0) return;
    this.#options.bodies.giveBack(entry.connection, entry.requestBytes);
    entry.requestBytes = 0;
  }

  /** Calls back when there is room for the answer of a unary call. */
  whenAnswerable({ entry }: OpenCall, answer: () => void): void {
    if (entry === undefined) return;
    entry.waitingAnswer = answer;
    this.#options.answers.whenRoom(entry.connection, answer);
  }

  /** An answer of this size is about to be sent. */
  answering(call: OpenCall, bytes: number): void {
    if (call.entry === undefined || !this.#open.has(call)) return;
    call.entry.answerBytes += bytes;
    this.#options.answers.sent(call.entry.connection, bytes);
  }

  /** So many bytes of its answers have left for the transport, and the call goes on. */
  answerLeft(call: OpenCall, bytes: number): void {
    if (call.entry === undefined || !this.#open.has(call)) return;
    call.entry.answerBytes -= bytes;
    this.#options.answers.left(call.entry.connection, bytes);
  }

  /** The call has its status. Sent bytes may still be on the way to the client. */
  answered(call: OpenCall): void {
    this.letRequestGo(call);
    const { entry } = call;
    if (entry?.waitingAnswer !== undefined) {
      this.#options.answers.giveUp(entry.connection, entry.waitingAnswer);
      entry.waitingAnswer = undefined;
    }
    this.#unanswered.delete(call);
    if (this.#unanswered.size === 0) this.#onAllAnswered();
  }

  /** The call has its status, and its client has not closed its half. */
  leftHalfOpen(stream: HalfOpenStream): void {
    this.#halfOpen.add(stream);
  }

  /** `isSent`: everything that was sent has left for the transport. */
  closed(call: OpenCall, isSent: boolean): void {
    this.answered(call);
    if (!this.#open.delete(call)) return;
    const { connection, answerBytes, owed } = call.entry!;
    owed.close();
    if (call.kind === 'stream') this.#streamCount--;
    else {
      this.#callCount--;
      connection.callCount--;
    }
    if (answerBytes === 0) return;
    if (isSent) this.#options.answers.left(connection, answerBytes);
    else this.#options.answers.dropped(connection, answerBytes);
  }

  /** Asks every call to end, and refuses new ones. Other services still accept calls: health checks go on. */
  drain(error: SluiceError): void {
    this.#draining = error;
    this.#sweep?.cancel();
    for (const call of [...this.#open]) call.stop(error);
  }

  /** Resolves when every call has its status. */
  async allAnswered(): Promise<void> {
    if (this.#unanswered.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#onAllAnswered = resolve;
    });
  }

  /**
   * Once a second while there are calls: gives up calls without a request, and clients that do not read answers.
   */
  #sweepOverdue(): void {
    const { clock, peers, answers, bodies, streamAnswers } = this.#options;
    const nowMs = clock.monotonicMs();
    for (const call of [...this.#open]) {
      if (call.entry!.waitingSinceMs > nowMs - limits.requestTimeoutMs) break;
      if (!call.isWaitingForRequest || !this.#unanswered.has(call)) continue;
      this.#count('REQUEST_TIMEOUT');
      call.stop(requestTimeout());
    }
    // Requests wait behind answers that are not read.
    const isPressed = answers.isPressed || bodies.isPressed || streamAnswers.isPressed;
    for (const connection of peers.connections) {
      const stuckForMs = connection.stuckForMs(nowMs);
      if (isPressed && stuckForMs >= limits.answerTimeoutMs) connection.cut();
    }
    this.#sweep =
      this.#open.size > 0 && this.#draining === undefined
        ? clock.after(secondMs, () => this.#sweepOverdue())
        : undefined;
  }

  #count(reason: Reason): void {
    this.#refusals.set(reason, (this.#refusals.get(reason) ?? 0) + 1);
  }
}

function requestTimeout(): SluiceError {
  const seconds = limits.requestTimeoutMs / secondMs;
  return new SluiceError(
    'REQUEST_TIMEOUT',
    `no request came within ${seconds} s of opening the call: send it right away, and close that half of the stream`,
  );
}
