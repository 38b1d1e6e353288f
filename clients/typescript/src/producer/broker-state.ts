import { Backoff, pause } from '../backoff.js';
import type { BrokerAccess } from '../broker-access.js';
import type { CallOptions } from '../calls.js';
import { SluiceError, StatusCode } from '../errors.js';
import { isFinal, isPassing } from './failure.js';
import type { CompleteOptions } from './options.js';

/** The epoch of a producer, and the number of its last durable message. */
export interface Position {
  readonly epoch: bigint;
  readonly lastSequence: bigint;
}

/** The deadline of one call. */
export const callTimeoutMs = 10_000;
/** How long the client tries to open a producer without a `retryTimeoutMs`. */
const openTimeoutMs = 10_000;

/** Asks for the position of a producer, without a claim. */
export function positionOf(
  client: BrokerAccess,
  topic: string,
  producerId: string,
  options: CallOptions,
): Promise<Position> {
  return client.broker.getProducer({ topic, producerId }, options);
}

/** A random number from 1 to 2^53 - 1, by which the broker recognizes a repeated call. */
export function newClaimId(): bigint {
  const [random] = crypto.getRandomValues(new BigUint64Array(1));
  return random! >> 11n || 1n;
}

/** One attempt to claim the name of a producer. With `currentEpoch`, only if that is still its epoch. */
export async function claim(
  client: BrokerAccess,
  { topic, producerId }: { readonly topic: string; readonly producerId: string },
  { claimId, currentEpoch }: { readonly claimId: bigint; readonly currentEpoch?: bigint },
  options: CallOptions,
): Promise<Position> {
  const current = currentEpoch === undefined ? {} : { currentEpoch };
  try {
    return await client.broker.openProducer({ topic, producerId, claimId, ...current }, options);
  } catch (thrown) {
    const error = SluiceError.from(thrown);
    if (error.code !== StatusCode.UNIMPLEMENTED) throw error;
    const text =
      'the broker does not know OpenProducer, by which this client claims a producer: update the broker';
    throw new SluiceError(text, { code: error.code, reason: error.reason, cause: error });
  }
}

/** Claims the name of a producer, and asks for what the producer needs before it can send. */
export async function openPosition(
  client: BrokerAccess,
  options: CompleteOptions,
): Promise<Position & { readonly partitionCount: number }> {
  const untilMs = performance.now() + (options.retryTimeoutMs ?? openTimeoutMs);
  const backoff = new Backoff(options);
  // The same for each attempt, because an attempt whose answer was lost may have claimed the name.
  const claimId = newClaimId();
  let last: SluiceError | undefined;
  for (;;) {
    const leftMs = Math.max(1, untilMs - performance.now());
    const limit = { timeoutMs: Math.min(callTimeoutMs, leftMs) };
    try {
      const position = await claim(client, options, { claimId }, limit);
      const partitionCount = await partitionCountOf(client, options.topic, limit);
      return { epoch: position.epoch, lastSequence: position.lastSequence, partitionCount };
    } catch (thrown) {
      const error = SluiceError.from(thrown);
      const waitMs = backoff.nextMs(error.retryAfterMs);
      if (isFinal(error) || !isPassing(error)) throw error;
      // An earlier error says more than an exceeded deadline.
      if (error.code !== StatusCode.DEADLINE_EXCEEDED) last = error;
      if (performance.now() + waitMs >= untilMs) throw last ?? error;
      client.connectionStates.failed(error, waitMs);
      await pause(waitMs);
    }
  }
}

/** A topic that does not exist yet will have one partition. */
export async function partitionCountOf(
  client: BrokerAccess,
  topic: string,
  options: CallOptions = { timeoutMs: callTimeoutMs },
): Promise<number> {
  try {
    const found = await client.admin.getTopic({ name: topic }, options);
    return found.topic?.partitionCount ?? 1;
  } catch (thrown) {
    const error = SluiceError.from(thrown);
    if (error.reason !== 'TOPIC_NOT_FOUND') throw error;
    return 1;
  }
}
