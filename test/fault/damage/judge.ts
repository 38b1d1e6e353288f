import {
  type Acknowledged,
  type PartitionRecord,
  partitionOf,
  passedOverOffsets,
  pendingOffsets,
  type Standing,
  type SubscriptionRecord,
  subscriptionOf,
  type TopicRecord,
} from './acknowledged.js';
import type {
  Answer,
  Delivery,
  Drained,
  Life,
  Loss,
  Observation,
  Reading,
  SubscriptionAnswer,
} from './observation.js';

/**
 * Allowed is: everything is there; or a refusal with a typed reason, the same at each start; or DATA_LOSS for
 * named offsets or objects, and everything else is there. Every other outcome is a violation.
 */
export type ViolationKind =
  /** Other bytes than were sent, or a message that was never stored there. */
  | 'altered'
  /** Acknowledged, and neither there nor named as lost. */
  | 'missing'
  /** Something that was deleted or removed is there again, or that never was. */
  | 'invented'
  /** A message that was settled is due again. */
  | 'settled again'
  /** More is named as lost than the damage can have hit. */
  | 'overclaimed'
  /** An error that is no DATA_LOSS, or one that does not say of what. */
  | 'untyped'
  | 'died'
  | 'hung'
  /** A later start says something else than the first. */
  | 'inconsistent';

export interface Violation {
  readonly kind: ViolationKind;
  readonly text: string;
}

export interface Verdict {
  readonly outcome: 'whole' | 'refused' | 'served with losses' | 'failed';
  readonly violations: readonly Violation[];
}

export interface JudgeOptions {
  /** The most bytes of messages that the damage can have made unreadable. Default: any number. */
  readonly maxLostBytes?: number;
  /** Nothing is damaged: a refusal or a loss is a violation. */
  readonly mustBeWhole?: boolean;
}

/** Judges the lives of a broker on one damaged store, in their order. */
export function judge(
  acknowledged: Acknowledged,
  lives: readonly Life[],
  { maxLostBytes = Number.POSITIVE_INFINITY, mustBeWhole = false }: JudgeOptions = {},
): Verdict {
  const violations = new Violations();
  let hasLosses = false;
  for (const [index, life] of lives.entries()) {
    const name = `start ${index + 1}`;
    if (life.kind === 'died' || life.kind === 'hung') violations.add(life.kind, `${name}: ${life.text}`);
    if (life.kind !== 'served') continue;
    const court = new LifeJudge(acknowledged, life.observation, violations);
    court.judge(maxLostBytes);
    for (const drained of life.drained ?? []) court.judgeDrained(drained);
    hasLosses ||= court.hasLosses;
  }
  compareLives(lives, violations);
  const refusal = lives.find(({ kind }) => kind === 'refused');
  if (mustBeWhole && (hasLosses || refusal !== undefined)) {
    violations.add('overclaimed', `nothing is lost, and it ${refusal === undefined ? 'says so' : 'refuses'}`);
  }
  return { outcome: outcomeOf(violations, refusal !== undefined, hasLosses), violations: violations.all };
}

function outcomeOf({ all }: Violations, isRefused: boolean, hasLosses: boolean): Verdict['outcome'] {
  if (all.length > 0) return 'failed';
  if (isRefused) return 'refused';
  return hasLosses ? 'served with losses' : 'whole';
}

/**
 * A start must say what the one before said. But what no read touches, a compaction may find later: then the broker
 * ends by a loss that names the table, and from then on at each start.
 */
function compareLives(lives: readonly Life[], violations: Violations): void {
  for (const [index, later] of lives.entries()) {
    const earlier = lives[index - 1];
    if (earlier === undefined) continue;
    const contradiction = contradictionOf(earlier, later);
    if (contradiction !== undefined) violations.add('inconsistent', `start ${index + 1}${contradiction}`);
  }
}

function contradictionOf(earlier: Life, later: Life): string | undefined {
  if (earlier.kind === 'refused' && later.kind === 'served') {
    return ` serves, the one before ended with ${earlier.text}`;
  }
  if (earlier.kind === 'refused' && later.kind === 'refused' && earlier.reason !== later.reason) {
    return ` ended with ${later.text}, the one before with ${earlier.text}`;
  }
  if (earlier.kind !== 'served') return undefined;
  if (later.kind === 'refused') {
    return isFoundByCompaction(later) ? undefined : ` ended with ${later.text}, the one before served`;
  }
  if (later.kind !== 'served') return undefined;
  const difference = differenceOf(earlier.observation, later.observation);
  return difference === undefined ? undefined : `: ${difference}`;
}

/** What no opening and no read touches, a compaction may find: the broker ends by a loss that names the table. */
export function isFoundByCompaction({ reason, text }: Life & { kind: 'refused' }): boolean {
  return reason === 'DATA_LOSS' && /\.sst/.test(text);
}

/** The first thing that differs, in short. */
function differenceOf(earlier: Observation, later: Observation): string | undefined {
  for (const part of Object.keys(earlier) as (keyof Observation)[]) {
    const [before, after] = [earlier[part], later[part]].map((value) => JSON.stringify(value));
    if (before !== after) return `${part}: ${excerpts(after!, before!)}`;
  }
  return undefined;
}

/** Where two long texts differ. */
function excerpts(said: string, right: string): string {
  let at = 0;
  while (said[at] === right[at]) at += 1;
  const from = Math.max(0, at - 60);
  return `${said.slice(from, at + 60)} instead of ${right.slice(from, at + 60)}`;
}

class Violations {
  readonly all: Violation[] = [];

  add(kind: ViolationKind, text: string): void {
    this.all.push({ kind, text });
  }
}

class LifeJudge {
  hasLosses = false;
  readonly #acknowledged: Acknowledged;
  readonly #observation: Observation;
  readonly #violations: Violations;
  /** Messages named as lost, as `topic/partition/offset`. */
  readonly #lost = new Set<string>();
  /** Subscriptions whose state is named as lost. */
  readonly #lostSubscriptions = new Set<string>();

  constructor(acknowledged: Acknowledged, observation: Observation, violations: Violations) {
    this.#acknowledged = acknowledged;
    this.#observation = observation;
    this.#violations = violations;
  }

  judge(maxLostBytes: number): void {
    const { topics, subscriptions, producers } = this.#acknowledged;
    const said = this.#observation;
    this.#collectLosses(maxLostBytes);
    this.#expect('the list of topics', said.topicNames, [...topics.keys()].sort());
    this.#expect('the list of subscriptions', said.subscriptionNames, [...subscriptions.keys()].sort());
    for (const [name, record] of topics) {
      const extents = record.partitions.map(({ firstOffset, nextOffset }) => ({ firstOffset, nextOffset }));
      this.#expect(`topic ${name}`, said.topics[name], { config: record.config, extents });
    }
    for (const [key, record] of subscriptions) {
      this.#expect(`subscription ${key}`, said.subscriptions[key], this.#subscriptionAnswer(key, said));
      this.#expect(`the redrivable dead letters of ${key}`, said.redrives[key], record.redrivable);
    }
    for (const [key, { epoch, lastSequence }] of producers) {
      this.#expect(`producer ${key}`, said.producers[key], { epoch, lastSequence });
    }
    for (const [place, answer] of Object.entries(said.messages)) {
      this.#expect(`message ${place}`, answer, this.#messageAt(place));
    }
    for (const reading of said.readings) this.#judgeReading(reading);
  }

  /** The backlog may still count messages that are for another subscription. */
  #subscriptionAnswer(key: string, { subscriptions }: Observation): SubscriptionAnswer {
    const { config, standings } = subscriptionOf(this.#acknowledged, key);
    const answer = subscriptions[key];
    const partitions = standings.map(({ deadLettered }, partition) => {
      const least = pendingOffsets(this.#acknowledged, key, partition).length;
      const most = least + passedOverOffsets(this.#acknowledged, key, partition).length;
      const said = answer?.kind === 'said' ? (answer.value.partitions[partition]?.backlog ?? 0) : 0;
      return { backlog: Math.min(Math.max(said, least), most), deadLetters: deadLettered.size };
    });
    return { config, partitions };
  }

  judgeDrained({ subscription, deliveries, losses, failure }: Drained): void {
    const { topic, standings } = subscriptionOf(this.#acknowledged, subscription);
    const name = `subscription ${subscription}`;
    const isLost =
      this.#lostSubscriptions.has(subscription) || losses.some((loss) => loss.first === undefined);
    if (losses.length > 0) this.hasLosses = true;
    if (failure !== undefined && !isLost) this.#violations.add('untyped', `${name}: ${failure}`);
    for (const loss of losses) {
      if (!isNamed(loss)) this.#violations.add('untyped', `${name}: a loss without a name: ${loss.text}`);
      this.#checkNamed(topic, loss, name);
    }
    const delivered = new Set<string>();
    for (const delivery of deliveries) {
      const place = `${delivery.partition}/${delivery.offset}`;
      const isFirst = !delivered.has(place);
      delivered.add(place);
      const hasAttempts = isFirst && losses.length === 0;
      this.#judgeDelivery(`${name}: ${place}`, topic, standings[delivery.partition], delivery, hasAttempts);
    }
    if (isLost) return;
    for (const partition of standings.keys()) {
      const missed = pendingOffsets(this.#acknowledged, subscription, partition).filter(
        (offset) => !delivered.has(`${partition}/${offset}`) && !isCovered(losses, partition, offset),
      );
      for (const offset of missed) {
        this.#violations.add('missing', `${name}: ${partition}/${offset} was never delivered`);
      }
    }
  }

  #judgeDelivery(
    name: string,
    topic: string,
    standing: Standing | undefined,
    { partition, offset, digest, attempt }: Delivery,
    hasAttempts: boolean,
  ): void {
    const stored = this.#acknowledged.topics.get(topic)?.partitions[partition]?.messages.get(offset);
    if (stored === undefined) this.#violations.add('invented', `${name} was delivered`);
    else if (stored.digest !== digest) {
      this.#violations.add('altered', `${name} was delivered with other bytes`);
    }
    if (standing?.settled.has(offset)) {
      this.#violations.add('settled again', `${name} was settled and is delivered again`);
    }
    const failed = standing?.failed.get(offset) ?? 0;
    if (hasAttempts && attempt !== failed + 1) {
      this.#violations.add('missing', `${name} has attempt ${attempt} and failed ${failed} times`);
    }
  }

  #collectLosses(maxLostBytes: number): void {
    const { readings, subscriptions, redrives } = this.#observation;
    for (const { topic, partition, losses } of readings) {
      for (const place of losses.flatMap((loss) => lostPlaces(topic, partition, loss))) this.#lost.add(place);
    }
    for (const [key, { kind }] of [...Object.entries(subscriptions), ...Object.entries(redrives)]) {
      if (kind === 'lost') this.#lostSubscriptions.add(key);
    }
    let lostBytes = 0;
    for (const place of this.#lost) lostBytes += this.#storedAt(place)?.byteLength ?? 0;
    if (lostBytes > maxLostBytes) {
      this.#violations.add(
        'overclaimed',
        `${this.#lost.size} messages with ${lostBytes} bytes are named as lost, the damage is within ${maxLostBytes}`,
      );
    }
  }

  #expect(name: string, answer: Answer<unknown> | undefined, expected: unknown): void {
    if (answer === undefined) this.#violations.add('missing', `${name}: nothing was asked`);
    else if (answer.kind === 'lost') {
      this.hasLosses = true;
      if (!isNamed(answer.loss)) {
        this.#violations.add('untyped', `${name}: a loss without a name: ${answer.loss.text}`);
      }
      if (name.startsWith('message ')) this.#checkMessageLost(name.slice('message '.length), answer.loss);
    } else if (answer.kind === 'failed') {
      this.#violations.add(/NOT_FOUND/.test(answer.text) ? 'missing' : 'untyped', `${name}: ${answer.text}`);
    } else if (stable(answer.value) !== stable(expected)) {
      const kind = differenceKind(name, answer.value, expected);
      this.#violations.add(kind, `${name}: ${excerpts(stable(answer.value), stable(expected))}`);
    }
  }

  /** A message may be unreadable where a read says so too, or where a subscription's state is lost. */
  #checkMessageLost(place: string, { text, first }: Loss): void {
    if (this.#lost.has(place)) return;
    const [topic] = place.split('/');
    const ofSubscription = [...this.#lostSubscriptions].some((key) => key.startsWith(`${topic}/`));
    if (first === undefined && (ofSubscription || /cursor|dead letter|subscription/.test(text))) return;
    // Redriven messages are left out of reads, so a read need not say that they are lost.
    if (this.#storedAt(place)?.target !== undefined) return;
    this.#violations.add('inconsistent', `message ${place} is lost (${text}), and a read brings it`);
  }

  #checkNamed(topic: string, { partition, first, last }: Loss, name: string): void {
    if (partition === undefined || first === undefined || last === undefined) return;
    for (let offset = first; offset <= last; offset++) {
      const place = `${topic}/${partition}/${offset}`;
      if (this.#lost.has(place) || this.#storedAt(place)?.target !== undefined) continue;
      this.#violations.add('inconsistent', `${name}: ${place} is lost, and a read brings it`);
      return;
    }
  }

  #judgeReading({ topic, partition, from, messages, losses, failure }: Reading): void {
    const name = `read of ${topic}/${partition} from ${from}`;
    const record = partitionOf(this.#acknowledged, topic, partition);
    if (losses.length > 0) this.hasLosses = true;
    if (failure !== undefined) this.#violations.add('untyped', `${name}: ${failure}`);
    const seen = this.#judgeMessages(name, record, { partition, from, messages, losses });
    if (failure !== undefined) return;
    for (const [offset, { target }] of record.messages) {
      if (offset < from || target !== undefined || seen.has(offset)) continue;
      if (isCovered(losses, partition, offset)) continue;
      this.#violations.add('missing', `${name}: ${offset} is not there`);
    }
  }

  /** Answers the offsets that the read brought. */
  #judgeMessages(
    name: string,
    record: PartitionRecord,
    { partition, from, messages, losses }: Pick<Reading, 'partition' | 'from' | 'messages' | 'losses'>,
  ): ReadonlySet<number> {
    const seen = new Set<number>();
    let previous = from - 1;
    for (const [offset, digest] of messages) {
      const stored = record.messages.get(offset);
      if (offset <= previous) this.#violations.add('invented', `${name}: ${offset} behind ${previous}`);
      previous = offset;
      seen.add(offset);
      if (stored === undefined) this.#violations.add('invented', `${name}: ${offset} was never stored`);
      else if (stored.digest !== digest)
        this.#violations.add('altered', `${name}: ${offset} has other bytes`);
      if (isCovered(losses, partition, offset)) {
        this.#violations.add('inconsistent', `${name}: ${offset} came and was named as lost`);
      }
    }
    return seen;
  }

  #storedAt(place: string) {
    const [topic = '', partition, offset] = place.split('/');
    const record: TopicRecord | undefined = this.#acknowledged.topics.get(topic);
    return record?.partitions[Number(partition)]?.messages.get(Number(offset));
  }

  #messageAt(place: string): unknown {
    const [topic, partition, offset] = place.split('/');
    const stored = this.#storedAt(place);
    const statuses: Record<string, string> = {};
    for (const subscription of this.#acknowledged.subscriptions.values()) {
      if (subscription.topic !== topic) continue;
      if (stored?.target !== undefined && stored.target !== subscription.name) continue;
      statuses[subscription.name] = statusOf(subscription, Number(partition), Number(offset));
    }
    return { digest: stored?.digest, statuses };
  }
}

function statusOf({ standings }: SubscriptionRecord, partition: number, offset: number): string {
  const { settled, failed, deadLettered } = standings[partition]!;
  const attempts = deadLettered.get(offset);
  if (attempts !== undefined) return `FAILED ${attempts}`;
  return settled.has(offset) ? 'DONE 0' : `PENDING ${failed.get(offset) ?? 0}`;
}

export function isCovered(losses: readonly Loss[], partition: number, offset: number): boolean {
  return losses.some(
    (loss) =>
      (loss.partition ?? partition) === partition &&
      loss.first !== undefined &&
      loss.first <= offset &&
      offset <= loss.last!,
  );
}

/** It says of which messages, or of which object, something is lost. */
function isNamed({ first, last, text }: Loss): boolean {
  return (
    (first !== undefined && last !== undefined) || /topic|subscription|producer|cursor|dead letter/.test(text)
  );
}

/** A subscription that has more to do than it should was moved back. */
function differenceKind(name: string, value: unknown, expected: unknown): ViolationKind {
  if (name.startsWith('message ')) {
    const [said, right] = [value, expected] as { digest?: string }[];
    return said!.digest === right!.digest ? 'missing' : 'altered';
  }
  if (Array.isArray(value) && Array.isArray(expected)) {
    return expected.every((each) => value.includes(each)) ? 'invented' : 'missing';
  }
  if (name.startsWith('subscription ')) {
    const backlogs = [value, expected].map(
      (each) => (each as { partitions: { backlog: number }[] }).partitions,
    );
    return backlogs[0]!.some(({ backlog }, at) => backlog > (backlogs[1]![at]?.backlog ?? 0))
      ? 'settled again'
      : 'missing';
  }
  return 'missing';
}

/** The messages that a loss names, as `topic/partition/offset`. */
function lostPlaces(topic: string, partition: number, { first, last }: Loss): string[] {
  if (first === undefined || last === undefined) return [];
  return Array.from({ length: last - first + 1 }, (_, i) => `${topic}/${partition}/${first + i}`);
}

/** JSON with sorted keys. */
function stable(value: unknown): string {
  return JSON.stringify(value, (_, each) =>
    typeof each === 'object' && each !== null && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1)))
      : each,
  );
}
