import { limits } from './limits.js';
import { MiB } from './units.js';

/** Where the bytes in flight may be. */
export interface MemoryBudget {
  /** Receive windows of producers' streams: what the broker has got and not read. */
  readonly receiveBytes: number;
  /** Frames that have not left for the transport. */
  readonly frameBytes: number;
  /** What log readers hold of the disk. */
  readonly readAheadBytes: number;
  /** Answers of unary calls that their clients have not read. */
  readonly answerBytes: number;
  /** Answers of streams that are due, or that their clients have not read. */
  readonly streamAnswerBytes: number;
  /** Requests of calls that take one, until these are answered. */
  readonly requestBytes: number;
}

/** What is kept to be used again: on nobody's account, as it is in use as well as not. */
const spareBytes = limits.spareRoundBytes + limits.spareFrameBytes;

/** The least that has to be left beside the writer's queue and the tail. */
export const smallestRestBytes = spareBytes + 32 * MiB;

/** Divides what the writer's queue and the tail leave of everything that may be in flight. */
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
