import type { Clock } from '../base/clock.js';
import { endOnDefect } from '../base/invariant.js';
import type { Logger } from '../base/logger.js';
import { within } from '../base/within.js';

/** One part that is closed when the process ends. */
export interface ClosingStep {
  /** What it is, for the log. */
  readonly what: string;
  readonly limitMs: number;
  readonly close: () => Promise<void>;
}

/**
 * Closes one part after the other. A part that fails, or takes longer than its limit, is logged and left: the parts
 * behind it are closed all the same. False where there was one.
 */
export async function closeInTurn(
  steps: readonly ClosingStep[],
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): Promise<boolean> {
  let isClean = true;
  for (const { what, limitMs, close } of steps) {
    try {
      if (await within(clock, limitMs, close())) continue;
      logger.error({ what, limitMs }, 'closing took too long: going on without it');
    } catch (error) {
      endOnDefect(error);
      logger.error({ what, error }, 'closing failed: going on without it');
    }
    isClean = false;
  }
  return isClean;
}
