import type { Wait } from './types.js';

/**
 * Why a lane has no message for a session. `othersFirst`: the messages go to idle sessions with fewer outstanding
 * messages. `heldBack`: there are messages, but this session may not have them now.
 */
export type LaneWait = 'caughtUp' | 'backoff' | 'notAssigned' | 'othersFirst' | 'heldBack';

/** Why a session has to wait. */
export type WaitCause = Wait['reason'] | LaneWait;

/** What a caller is told. */
export const waits: Readonly<Record<WaitCause, Wait>> = {
  caughtUp: { kind: 'wait', reason: 'caughtUp' },
  messageCredit: { kind: 'wait', reason: 'messageCredit' },
  byteCredit: { kind: 'wait', reason: 'byteCredit' },
  backoff: { kind: 'wait', reason: 'backoff' },
  notAssigned: { kind: 'wait', reason: 'notAssigned' },
  othersFirst: { kind: 'wait', reason: 'notAssigned' },
  heldBack: { kind: 'wait', reason: 'notAssigned' },
  reading: { kind: 'wait', reason: 'reading' },
};

/** The causes that one of several lanes can have. */
export type NearnessCause = Exclude<WaitCause, 'messageCredit' | 'byteCredit'>;

/** If several lanes have nothing, the reason of the lane that is closest to having something counts. */
export const nearness: Readonly<Record<NearnessCause, number>> = {
  caughtUp: 1,
  notAssigned: 2,
  backoff: 3,
  reading: 4,
  // The highest: another session has to be woken for the messages that this one leaves.
  othersFirst: 5,
  heldBack: 5,
};
