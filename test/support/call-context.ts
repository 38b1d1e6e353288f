import { anonymous, type CallContext } from '../../src/base/call-context.js';

/** The context of a call that a test makes without a transport. */
export function contextOf(peer: string): CallContext {
  return { principal: anonymous, peer, deadlineAtMs: undefined, trace: undefined };
}
