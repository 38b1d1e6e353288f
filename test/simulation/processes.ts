import assert from 'node:assert/strict';
import { limits } from '../../src/base/limits.js';
import type { Ordering } from '../../src/base/model.js';
import type { PartitionInterval, SessionEnd } from '../../src/core/types.js';
import { Harness, plenty } from '../unit/core/harness.js';
import { Chance } from './chance.js';

/** What runs of processes are there for: many together must have seen all of it. */
const processEvents = [
  'crash',
  'hang',
  'stuck',
  'slow',
  'slowDelivery',
  'earlyClose',
  'lapse',
  'takenBack',
  'deadLetter',
] as const;

type ProcessEvent = (typeof processEvents)[number];

interface Message {
  readonly partition: number;
  readonly offset: number;
  /** 0: none. */
  readonly key: number;
  /** Ends the process that works on it. */
  readonly isPoison: boolean;
  state: 'open' | 'done' | 'deadLettered';
}

/** A consumer's process. What it holds stands in the order of delivery. */
interface Process {
  readonly name: string;
  /**
   * A hung one settles nothing. A stuck one does not even read, so that nothing leaves for it. For a slow one each frame
   * takes longer than a message may wait at first; it handles a frame at once.
   */
  readonly kind: 'worker' | 'hung' | 'stuck' | 'slow';
  readonly concurrency: number;
  held: Message[];
  /** Deliveries that wait for its transport. */
  readonly frames: Frame[];
}

interface Frame {
  readonly deliveryId: number;
  /** Less those that were taken back. */
  messages: Message[];
  ticksLeft: number;
}

/** Less than any lease: a worker that gets a message settles it in time. */
const tickMs = 50;
const ackDeadlineMs = 1_000;
/** Ten times what a run needs in which something always moves. */
const mostTicks = 20_000;

/**
 * One run: worker processes that acknowledge all they get, beside messages that end the process which works on them,
 * processes that hang, that do not read, that read slowly, and that close before they have handled anything. There is
 * always a healthy worker, so whatever happens, exactly the poisonous messages end as dead letters, and the others are
 * handled in their order.
 */
class ProcessRun {
  readonly #chance: Chance;
  readonly #count: (event: ProcessEvent) => void;
  readonly #ordering: Ordering;
  readonly #harness: Harness;
  readonly #messages: Message[] = [];
  #processes: Process[] = [];
  #nameCount = 0;
  #hungCount = 0;
  #stuckCount = 0;
  #slowCount = 0;

  constructor(seed: number, count: (event: ProcessEvent) => void) {
    this.#chance = new Chance(seed);
    this.#count = count;
    this.#ordering = this.#chance.pick(['partition', 'key', 'none'] as const);
    this.#harness = new Harness({
      ordering: this.#ordering,
      ackDeadlineMs,
      minBackoffMs: 1,
      maxBackoffMs: 100,
      maxAttempts: 3 + this.#chance.below(3),
    });
  }

  run(): void {
    const partitionCount = 1 + this.#chance.below(3);
    for (let partition = 0; partition < partitionCount; partition += 1) {
      this.#harness.partition(partition, 0);
      this.#publish(partition);
    }
    for (let i = 0; i < 2; i += 1) this.#open('worker');
    for (let tick = 0; this.#messages.some(({ state }) => state === 'open'); tick += 1) {
      assert.ok(tick < mostTicks, `nothing moves any more: ${JSON.stringify(this.#messages.filter(isOpen))}`);
      this.#tick();
    }
    for (const message of this.#messages) {
      const expected = message.isPoison ? 'deadLettered' : 'done';
      assert.equal(message.state, expected, `${message.partition}/${message.offset}`);
    }
  }

  #tick(): void {
    const oneIn = (n: number) => this.#chance.oneIn(n);
    if (oneIn(12)) this.#closeEarly();
    // One at a time: the lease of each costs its message an attempt.
    if (this.#hungCount === 0 && oneIn(40)) this.#open('hung');
    if (this.#stuckCount < 2 && oneIn(40)) this.#open('stuck');
    if (this.#slowCount < 2 && oneIn(40)) this.#open('slow');
    if (oneIn(20) && this.#processes.length < 6) this.#open('worker');
    this.#serve();
    for (const process of [...this.#processes]) this.#act(process);
    this.#serve();
    const attempts = this.#attempts();
    this.#harness.advance(tickMs);
    if (this.#attempts() > attempts) this.#count('lapse');
    this.#serve();
  }

  #act(process: Process): void {
    if (process.kind === 'slow') this.#moveSlowly(process);
    if (process.kind !== 'worker') return;
    if (this.#chance.below(4) > 0) this.#work(process);
    else this.#settleAll(process);
  }

  #publish(partition: number): void {
    const count = 5 + this.#chance.below(25);
    const keys = Array.from({ length: count }, () => this.#chance.below(4));
    this.#harness.append(partition, keys);
    const poisonAt = this.#chance.oneIn(2) ? this.#chance.below(count) : -1;
    for (const [offset, key] of keys.entries()) {
      this.#messages.push({ partition, offset, key, isPoison: offset === poisonAt, state: 'open' });
    }
  }

  #open(kind: Process['kind']): Process {
    this.#nameCount += 1;
    const process: Process = {
      name: `${kind}${this.#nameCount}`,
      kind,
      concurrency: this.#chance.pick([1, 1, 4, 8]),
      held: [],
      frames: [],
    };
    if (kind === 'hung') {
      this.#hungCount += 1;
      this.#count('hang');
    }
    if (kind === 'stuck') {
      this.#stuckCount += 1;
      this.#count('stuck');
    }
    if (kind === 'slow') {
      this.#slowCount += 1;
      this.#count('slow');
    }
    this.#processes.push(process);
    this.#harness.open(process.name, { ...plenty, messages: this.#chance.pick([1, 8, 1_000]) });
    return process;
  }

  #end(process: Process, end: SessionEnd): void {
    this.#processes = this.#processes.filter((other) => other !== process);
    this.#harness.close(process.name, end);
  }

  /** Opens, may get messages, and goes before it has handled one: that charges nothing. */
  #closeEarly(): void {
    this.#count('earlyClose');
    const process = this.#open('worker');
    this.#serve();
    const attempts = this.#attempts();
    this.#end(process, this.#chance.pick(['left', 'cancelled'] as const));
    assert.equal(this.#attempts(), attempts, `${process.name} was charged, and handled nothing`);
  }

  /** Handles what the process works on at once; a poisonous message among it ends the process, the others with it. */
  #work(process: Process): void {
    const inHand = this.#inHand(process);
    const done = inHand.filter(() => this.#chance.oneIn(2));
    if (done.some(({ isPoison }) => isPoison)) {
      this.#crash(process);
      return;
    }
    for (const message of done) this.#acknowledge(process, message);
  }

  /** So that no lease of a worker lapses: all but what would end it. */
  #settleAll(process: Process): void {
    for (
      let [next] = this.#inHand(process);
      next !== undefined && !next.isPoison;
      [next] = this.#inHand(process)
    ) {
      this.#acknowledge(process, next);
    }
  }

  /** The oldest frame leaves when its time is over. */
  #moveSlowly(process: Process): void {
    const [frame] = process.frames;
    if (frame === undefined) return;
    frame.ticksLeft -= 1;
    if (frame.ticksLeft > 0) return;
    process.frames.shift();
    this.#harness.subscription.sent(frame.deliveryId, this.#harness.nowMs);
    if (frame.messages.length > 0) this.#count('slowDelivery');
    process.held.push(...frame.messages);
    this.#settleAll(process);
    if (process.held.length > 0) this.#crash(process);
  }

  #crash(process: Process): void {
    this.#count('crash');
    this.#open('worker');
    this.#end(process, 'broke');
  }

  #acknowledge(process: Process, message: Message): void {
    const { partition, offset } = message;
    process.held.splice(process.held.indexOf(message), 1);
    const { settledCount } = this.#harness.settle(process.name, partition, offset, offset);
    assert.equal(settledCount, 1, `${process.name} does not hold ${partition}/${offset}`);
    assert.equal(message.state, 'open', `${partition}/${offset} is handled twice`);
    const earlier = this.#messages.find(
      (other) => other.state === 'open' && other.offset < offset && this.#isOrdered(other, message),
    );
    assert.equal(earlier, undefined, `${partition}/${offset} is handled before ${earlier?.offset}`);
    message.state = 'done';
  }

  /** The first messages that it may work on side by side. */
  #inHand({ held, concurrency }: Process): Message[] {
    const inHand: Message[] = [];
    for (const message of held) {
      if (inHand.length === concurrency) break;
      if (!inHand.some((other) => this.#isOrdered(other, message))) inHand.push(message);
    }
    return inHand;
  }

  #isOrdered(a: Message, b: Message): boolean {
    if (a.partition !== b.partition) return false;
    if (this.#ordering === 'partition') return true;
    return this.#ordering === 'key' && a.key !== 0 && a.key === b.key;
  }

  /** Carries out the effects of the subscription state until there are none left. */
  #serve(): void {
    for (;;) {
      const { deadLetterRequests, revocations, ready } = this.#harness.effects();
      for (const { partition, offset } of deadLetterRequests) {
        this.#count('deadLetter');
        const message = this.#message(partition, offset);
        assert.ok(message.isPoison, `${partition}/${offset} is dead-lettered, and ends no process`);
        message.state = 'deadLettered';
        this.#harness.subscription.deadLettered(partition, offset);
      }
      for (const { sessionId, offsets } of revocations) this.#takeBack(sessionId, offsets);
      if (deadLetterRequests.length + revocations.length + ready.length === 0) return;
      for (const sessionId of ready) this.#deliver(sessionId);
    }
  }

  #takeBack(sessionId: string, offsets: readonly PartitionInterval[]): void {
    const process = this.#processes.find(({ name }) => name === sessionId);
    if (process === undefined) return;
    if (process.kind === 'stuck') this.#count('takenBack');
    for (const { partition, first, last } of offsets) {
      const isKept = (m: Message) => m.partition !== partition || m.offset < first || m.offset > last;
      process.held = process.held.filter(isKept);
      for (const frame of process.frames) frame.messages = frame.messages.filter(isKept);
    }
  }

  #deliver(sessionId: string): void {
    const process = this.#processes.find(({ name }) => name === sessionId);
    if (process === undefined) return;
    if (process.kind === 'stuck' || process.kind === 'slow') this.#leaveUnread(process);
    else process.held.push(...this.#named(this.#harness.deliverAll(sessionId)));
  }

  /** The transport takes nothing now: two deliveries wait for it, and no more are made. */
  #leaveUnread(process: Process): void {
    const { subscription } = this.#harness;
    while (process.frames.length < limits.framesUnderWay) {
      const next = this.#harness.leaseNextIfAny(process.name);
      if (next === undefined) return;
      const messages = this.#named(next.messages);
      // From 5 to 25 s: a message waits for 10 s at first.
      const ticksLeft = 100 + this.#chance.below(400);
      if (messages.length > 0) process.frames.push({ deliveryId: next.deliveryId, messages, ticksLeft });
    }
    subscription.decline(process.name);
  }

  /** The messages that the harness describes so. */
  #named(texts: readonly string[]): Message[] {
    return texts.flatMap((text) => {
      const [, partition, first, last] = /^(\d+):(\d+)(?:-(\d+))?/.exec(text)!;
      const count = Number(last ?? first) - Number(first) + 1;
      return Array.from({ length: count }, (_, i) => this.#message(Number(partition), Number(first) + i));
    });
  }

  /** Of all messages that are still to be handled. */
  #attempts(): number {
    let attempts = 0;
    for (const { partition, offset, state } of this.#messages) {
      if (state !== 'open') continue;
      const status = this.#harness.subscription.status(partition, offset);
      if (status.kind !== 'done') attempts += status.failedAttempts;
    }
    return attempts;
  }

  #message(partition: number, offset: number): Message {
    return this.#messages.find((m) => m.partition === partition && m.offset === offset)!;
  }
}

export interface ProcessRunsResult {
  readonly counts: ReadonlyMap<ProcessEvent, number>;
  readonly failures: readonly string[];
}

/** Runs so many seeds, from 1 on; the first `mostFailures` end it. */
export function runProcesses(seedCount: number, mostFailures = Number.POSITIVE_INFINITY): ProcessRunsResult {
  const counts = new Map<ProcessEvent, number>(processEvents.map((event) => [event, 0]));
  const failures: string[] = [];
  for (let seed = 1; seed <= seedCount && failures.length < mostFailures; seed += 1) {
    try {
      new ProcessRun(seed, (event) => counts.set(event, counts.get(event)! + 1)).run();
    } catch (error) {
      failures.push(`seed ${seed}: ${error}`);
    }
  }
  return { counts, failures };
}

function isOpen({ state }: Message): boolean {
  return state === 'open';
}
