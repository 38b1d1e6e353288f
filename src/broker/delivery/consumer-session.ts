import { randomUUID } from 'node:crypto';
import { limits } from '../../base/limits.js';
import type { ConsumeOptions, ConsumerSession, ConsumerSink } from '../types.js';
import type { SubscriptionRunner } from './subscription-runner.js';

/** Opens a session of the subscription. Throws if the subscription was deleted after the caller had found it. */
export function openConsumerSession(
  runner: SubscriptionRunner,
  options: ConsumeOptions,
  sink: ConsumerSink,
): ConsumerSession {
  const credit = {
    messages: options.credit.messages ?? limits.defaultOutstandingMessages,
    bytes: options.credit.bytes ?? limits.defaultOutstandingBytes,
  };
  const sessionId = randomUUID();
  const link = runner.openSession(sessionId, options, sink);
  return {
    sessionId,
    credit,
    ackDeadlineMs: runner.ackDeadlineMs,
    get isHolding() {
      return (runner.sessionStatus(sessionId)?.outstandingMessageCount ?? 0) > 0;
    },
    start: () => runner.startSession(link, credit),
    close: (end) => runner.closeSession(sessionId, end),
  };
}
