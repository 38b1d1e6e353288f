import type { Clock } from '../base/clock.js';
import { limits } from '../base/limits.js';
import type { Alarm, Sleeper } from './alarm.js';
import type { ConsumerSink } from './types.js';

/** A subscription, as far as heartbeats go. */
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

/** Who is still to be told, in this round. */
interface Round {
  readonly startMs: number;
  readonly consumers: Iterator<readonly [BeatingSubscription, BeatingConsumer]>;
}

/**
 * Tells every consumer, now and then, that the broker is alive and how far behind its subscription is. A few hundred
 * at a time, with a pause in which others are served: five thousand at once would be a stall for everybody.
 */
export class Heartbeats implements Sleeper {
  readonly #services: HeartbeatServices;
  #round: Round | undefined;

  constructor(services: HeartbeatServices) {
    this.#services = services;
  }

  wake(nowMs: number): void {
    const { alarm } = this.#services;
    const round = this.#round ?? { startMs: nowMs, consumers: consumersOf([...this.#subscriptions()]) };
    const isDone = this.#beatSome(round);
    this.#round = isDone ? undefined : round;
    alarm.set(this, isDone ? round.startMs + limits.heartbeatEveryMs : nowMs + limits.heartbeatPauseMs);
  }

  #subscriptions(): Set<BeatingSubscription> {
    return new Set(this.#services.sessions.values());
  }

  /** Says whether the round is over. */
  #beatSome({ consumers }: Round): boolean {
    const { clock, sessions } = this.#services;
    const timeMs = clock.wallMs();
    let counted: BeatingSubscription | undefined;
    let backlog = 0;
    for (let i = 0; i < limits.heartbeatsAtOnce; i++) {
      const { value, done } = consumers.next();
      if (done) return true;
      const [subscription, consumer] = value;
      // It may have left, or its subscription be gone, since the round began.
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
