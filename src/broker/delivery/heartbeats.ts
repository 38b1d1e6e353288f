import type { Clock } from '../../base/clock.js';
import { limits } from '../../base/limits.js';
import type { Alarm, Sleeper } from '../alarm.js';
import type { ConsumerSink } from '../types.js';

/** The part of a subscription that heartbeats need. */
export interface BeatingSubscription {
  readonly backlogMessageCount: number;
  readonly links: Iterable<BeatingConsumer>;
}

export interface BeatingConsumer {
  readonly sessionId: string;
  readonly isHeldByTransport: boolean;
  readonly sink: Pick<ConsumerSink, 'heartbeat'>;
}

export interface HeartbeatServices {
  readonly clock: Clock;
  readonly alarm: Alarm;
  /** By session id. */
  readonly sessions: ReadonlyMap<string, BeatingSubscription>;
}

/** The consumers that have not had a heartbeat in this sweep. */
interface Sweep {
  readonly startMs: number;
  readonly consumers: Iterator<readonly [BeatingSubscription, BeatingConsumer]>;
}

/**
 * Sends each consumer, at intervals, a heartbeat with the backlog of its subscription. It sends a few hundred at a
 * time, with pauses for other work: five thousand at once would block the event loop.
 */
export class Heartbeats implements Sleeper {
  readonly #services: HeartbeatServices;
  #sweep: Sweep | undefined;

  constructor(services: HeartbeatServices) {
    this.#services = services;
  }

  wake(nowMs: number): void {
    const { alarm } = this.#services;
    const sweep = this.#sweep ?? { startMs: nowMs, consumers: consumersOf([...this.#subscriptions()]) };
    const isDone = this.#beatSome(sweep);
    this.#sweep = isDone ? undefined : sweep;
    alarm.set(this, isDone ? sweep.startMs + limits.heartbeatEveryMs : nowMs + limits.heartbeatPauseMs);
  }

  #subscriptions(): Set<BeatingSubscription> {
    return new Set(this.#services.sessions.values());
  }

  /** Returns whether the sweep has ended. */
  #beatSome({ consumers }: Sweep): boolean {
    const { clock, sessions } = this.#services;
    const timeMs = clock.wallMs();
    let counted: BeatingSubscription | undefined;
    let backlog = 0;
    for (let i = 0; i < limits.heartbeatsAtOnce; i++) {
      const { value, done } = consumers.next();
      if (done) return true;
      const [subscription, consumer] = value;
      // The session may have ended, or its subscription may have been deleted, since the sweep began.
      if (consumer.isHeldByTransport || sessions.get(consumer.sessionId) !== subscription) continue;
      if (subscription !== counted) backlog = subscription.backlogMessageCount;
      counted = subscription;
      consumer.sink.heartbeat(timeMs, backlog);
    }
    return false;
  }
}

function* consumersOf(
  subscriptions: readonly BeatingSubscription[],
): Generator<readonly [BeatingSubscription, BeatingConsumer], undefined> {
  for (const subscription of subscriptions) {
    for (const consumer of subscription.links) yield [subscription, consumer];
  }
}
