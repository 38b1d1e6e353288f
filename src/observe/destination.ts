import { type DestinationStream, pino } from 'pino';
import { limits } from '../base/limits.js';

/**
 * Writes log lines to stdout without blocking the broker. For a slow reader, lines wait up to a limit; further
 * lines are dropped. Waiting lines are written before the process exits.
 */
export function stdoutDestination(): DestinationStream {
  return pino.destination({ fd: 1, sync: false, minLength: 0, maxLength: limits.logQueueBytes });
}
