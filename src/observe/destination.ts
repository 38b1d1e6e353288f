import { type DestinationStream, pino } from 'pino';
import { limits } from '../base/limits.js';

/**
 * Writes log lines to stdout without ever holding up the broker: whoever reads them slowly makes lines wait, up
 * to a bound, and loses lines beyond it. What waits is written before the process exits.
 */
export function stdoutDestination(): DestinationStream {
  return pino.destination({ fd: 1, sync: false, minLength: 0, maxLength: limits.logQueueBytes });
}
