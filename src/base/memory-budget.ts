import { limits } from './limits.js';
import { MiB } from './units.js';

/** The parts of the memory for bytes in flight. */
export interface MemoryBudget {
  /** Receive windows of producers' streams: bytes that have arrived and were not read. */
  readonly receiveBytes: number;
  /** Frames that have not left for the transport. */
  readonly frameBytes: number;
  /** What log readers hold of the disk. */
  readonly readAheadBytes: number;
  /** Answers of unary calls that their clients have not read. */
  readonly answerBytes: number;
  /** Answers of streams that are due, or that their clients have not read. */
  readonly streamAnswerBytes: number;
  /** Requests of calls that take one, until they are answered. */
  readonly requestBytes: number;
}

/** Memory that is kept for reuse. Its blocks count here whether in use or not. */
const spareBytes = limits.spareRoundBytes + limits.spareFrameBytes;

/** The minimum that the writer's queue and the tail must leave. */
export const smallestRestBytes = spareBytes + 32 * MiB;

/** Divides the memory in flight that the writer's queue and the tail leave. */
export function divideBudget(settings: {
  readonly maxInFlightBytes: number;
  readonly writerQueueBytes: number;
  readonly tailBytes: number;
}): MemoryBudget {
  const shared = settings.maxInFlightBytes - settings.writerQueueBytes - settings.tailBytes - spareBytes;
  return {
    receiveBytes: shared * 0.5,
    frameBytes: shared * 0.28125,
    readAheadBytes: shared * 0.125,
    answerBytes: shared * 0.03125,
    streamAnswerBytes: shared * 0.03125,
    requestBytes: shared * 0.03125,
  };
}
