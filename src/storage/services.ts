import type { Clock } from '../base/clock.js';
import type { Logger } from '../base/logger.js';
import type { RoundLog } from './commit/round-log.js';

export interface StorageServices {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Puts another log of rounds before the local one, which writes to the database. Absent: the local log. */
  readonly roundLog?: (local: RoundLog) => RoundLog;
}
