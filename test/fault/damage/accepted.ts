import { create } from '@bufbuild/protobuf';
import type { SluiceClient } from '@sluice/client';
import { MessageSchema } from '@sluice/client/api';
import { type Acknowledged, type PartitionRecord, partitionOf } from './acknowledged.js';
import { answerTo } from './audit.js';
import { isCovered, isFoundByCompaction, type Verdict, type Violation, type ViolationKind } from './judge.js';
import type { Life, Observation, Reading } from './observation.js';

/**
 * Starts with `--accept-data-loss` after a refusal that names this setting. The refusal says what is lost; all else must
 * be there, once and in order, and the next start serves it without the setting.
 */
export interface AcceptedLives {
  /** What the refusal said. */
  readonly refusal: string;
  /** The start with the setting, and the one after it without the setting. */
  readonly lives: readonly Life[];
  /** What was published in the second start. */
  readonly published?: readonly Published[];
  /** What of that is missing in the third start, after a kill. */
  readonly lost?: readonly string[];
}

/** Whether a refusal says that the broker starts with `--accept-data-loss`. */
export function namesAcceptance(refusal: string): boolean {
  return /--accept-data-loss|accept the loss by the setting/.test(refusal);
}

/** The end of the history is lost: changes behind some moment, of every kind. */
const endIsLost =
  /database ends \d+ changes before|write-ahead log|\.log is cut off|older copy|cut off|can't be checked|were synced and are missing/;
/** Records of the catalog, or what belongs to a topic or a subscription. */
const recordsAreLost = /metadata of the store|catalog|column family|does not know its store/;

/** Judges the lives that follow a refusal. */
export function judgeAccepted(
  acknowledged: Acknowledged,
  { refusal, lives, published = [], lost = [] }: AcceptedLives,
): Verdict {
  const violations: Violation[] = [];
  const add = (kind: ViolationKind, text: string) =>
    violations.push({ kind, text: `with the loss accepted: ${text}` });
  for (const text of lost) add('missing', `published after it, ${text}`);
  for (const [index, life] of lives.entries()) {
    const name = `start ${index + 1}`;
    if (life.kind === 'served') {
      const publishedBefore = index === 2 ? published : [];
      new AcceptedJudge(acknowledged, refusal, life.observation, publishedBefore, add).judge();
    } else if (life.kind !== 'refused') add(life.kind, `${name}: ${life.text}`);
    else if (!isFoundByCompaction(life)) add('inconsistent', `${name} is refused: ${life.text}`);
  }
  for (const text of contradictions(lives[0], lives[1])) add('inconsistent', text);
  return { outcome: violations.length > 0 ? 'failed' : 'served with losses', violations };
}

/** What the later start says otherwise than the earlier one, where both served. */
function* contradictions(earlier: Life | undefined, later: Life | undefined): Generator<string> {
  if (earlier?.kind !== 'served' || later?.kind !== 'served') return;
  const laterValues = saidValues(later.observation);
  for (const [place, { value }] of saidValues(earlier.observation)) {
    const laterValue = laterValues.get(place)?.value;
    if (laterValue !== value) yield `${place}: ${laterValue} instead of ${value}`;
  }
}

/** What both starts must say alike: how far each partition reaches, and what each read brings. */
function saidValues({ topics, readings }: Observation): Map<string, { value: string }> {
  const values = new Map<string, { value: string }>();
  for (const [name, answer] of Object.entries(topics)) {
    values.set(name, { value: answer.kind === 'said' ? JSON.stringify(answer.value) : answer.kind });
  }
  for (const { topic, partition, from, messages } of readings) {
    values.set(`read of ${topic}/${partition} from ${from}`, { value: JSON.stringify(messages) });
  }
  return values;
}

class AcceptedJudge {
  readonly #acknowledged: Acknowledged;
  readonly #observation: Observation;
  readonly #add: (kind: ViolationKind, text: string) => void;
  /** What is missing may be the end of each partition, and what was made last. */
  readonly #mayEndEarly: boolean;
  readonly #mayMissRecords: boolean;
  /** Places whose content is judged apart. Offsets behind a lost end are given again. */
  readonly #published: ReadonlySet<string>;

  constructor(
    acknowledged: Acknowledged,
    refusal: string,
    observation: Observation,
    published: readonly Published[],
    add: (kind: ViolationKind, text: string) => void,
  ) {
    this.#acknowledged = acknowledged;
    this.#observation = observation;
    this.#add = add;
    this.#published = new Set(
      published.map(({ topic, partition, offset }) => `${topic}/${partition}/${offset}`),
    );
    this.#mayEndEarly = endIsLost.test(refusal);
    this.#mayMissRecords = this.#mayEndEarly || recordsAreLost.test(refusal);
  }

  judge(): void {
    const { topics, subscriptions, producers } = this.#observation;
    for (const [kind, answers] of Object.entries({ topics, subscriptions, producers })) {
      for (const [name, answer] of Object.entries(answers)) {
        if (answer.kind === 'failed') this.#judgeFailure(`${kind} ${name}: ${answer.text}`, answer.text);
      }
    }
    if (!this.#mayMissRecords) this.#judgeProducers();
    for (const reading of this.#observation.readings) this.#judgeReading(reading);
  }

  #judgeFailure(what: string, text: string): void {
    const isMissing = /NOT_FOUND/.test(text);
    if (!isMissing) this.#add('untyped', what);
    else if (!this.#mayMissRecords) this.#add('missing', what);
  }

  #judgeProducers(): void {
    for (const [key, { epoch, lastSequence }] of this.#acknowledged.producers) {
      const answer = this.#observation.producers[key];
      if (answer?.kind !== 'said') continue;
      if (answer.value.epoch !== epoch || answer.value.lastSequence !== lastSequence) {
        this.#add('missing', `producer ${key}: ${JSON.stringify(answer.value)}`);
      }
    }
  }

  #judgeReading({ topic, partition, from, messages, losses, failure }: Reading): void {
    const name = `read of ${topic}/${partition} from ${from}`;
    const answer = this.#observation.topics[topic];
    // A topic that is not there was judged above; nothing of it can be read.
    if (answer?.kind !== 'said') return;
    const record = partitionOf(this.#acknowledged, topic, partition);
    const extent = answer.value.extents[partition] ?? { firstOffset: 0, nextOffset: 0 };
    if (!this.#mayMissRecords && extent.nextOffset < record.nextOffset) {
      this.#add('missing', `topic ${topic}/${partition} ends at ${extent.nextOffset}`);
    }
    const seen = this.#judgeMessages(name, record, { topic, partition, from, messages });
    if (failure !== undefined) {
      const isReadable = extent.nextOffset >= from && partition < answer.value.extents.length;
      if (isReadable) this.#add('untyped', `${name}: ${failure}`);
      return;
    }
    if (topic === 'gone' && this.#mayMissRecords) return;
    const firstOffset = Math.max(from, extent.firstOffset);
    const offsets = [...record.messages]
      .filter(([offset, { target }]) => target === undefined && offset >= firstOffset)
      .map(([offset]) => offset)
      .filter((offset) => offset < extent.nextOffset && !seen.has(offset));
    for (const offset of offsets) {
      if (!isCovered(losses, partition, offset)) this.#add('missing', `${name}: ${offset} is not there`);
    }
  }

  /** Answers the offsets that the read brought. */
  #judgeMessages(
    name: string,
    record: PartitionRecord,
    { topic, partition, from, messages }: Pick<Reading, 'topic' | 'partition' | 'from' | 'messages'>,
  ): ReadonlySet<number> {
    const seen = new Set<number>();
    let previous = from - 1;
    for (const [offset, digest] of messages) {
      if (offset <= previous) this.#add('invented', `${name}: ${offset} behind ${previous}`);
      previous = offset;
      seen.add(offset);
      if (this.#published.has(`${topic}/${partition}/${offset}`)) continue;
      // An earlier topic of the name may be there again.
      if (topic === 'gone' && this.#mayMissRecords) continue;
      this.#judgeMessage(`${name}: ${offset}`, offset, digest, record);
    }
    return seen;
  }

  #judgeMessage(name: string, offset: number, digest: string, record: PartitionRecord): void {
    const stored = record.messages.get(offset);
    if (stored === undefined) {
      if (offset >= record.firstOffset) this.#add('invented', `${name} was never stored`);
    } else if (stored.digest !== digest) this.#add('altered', `${name} has other bytes`);
  }
}

/** A message that was published after the loss was accepted. */
export interface Published {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly payload: string;
}

/** Publishes a message to each partition that the store has. */
export async function publishBehind(client: SluiceClient, { topics }: Observation): Promise<Published[]> {
  const published: Published[] = [];
  for (const [topic, answer] of Object.entries(topics)) {
    if (answer.kind !== 'said') continue;
    for (const partition of answer.value.extents.keys()) {
      const payload = `behind what is lost of ${topic}/${partition}`;
      const call = client.broker.publish();
      await call.write({
        topic,
        partition,
        messages: [create(MessageSchema, { payload: Buffer.from(payload) })],
      });
      call.end();
      const { ranges } = await call.result;
      published.push({ topic, partition, offset: Number(ranges[0]!.firstOffset), payload });
    }
  }
  return published;
}

/** What was published and is not there any more. */
export async function findLost({ admin }: SluiceClient, published: readonly Published[]): Promise<string[]> {
  const lost: string[] = [];
  for (const { topic, partition, offset, payload } of published) {
    const answer = await answerTo(() => admin.getMessage({ topic, partition, offset: BigInt(offset) }));
    const found =
      answer.kind === 'said' ? Buffer.from(answer.value.run!.messages[0]!.payload).toString() : '';
    if (found !== payload) lost.push(`${topic}/${partition}/${offset}: ${JSON.stringify(answer.kind)}`);
  }
  return lost;
}
