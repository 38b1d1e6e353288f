import type { Clock } from '../base/clock.js';
import { endOnDefect } from '../base/invariant.js';
import type { Logger } from '../base/logger.js';
import { within } from '../base/within.js';

/** A part that is closed when the process ends. */
export interface ClosingStep {
  /** The name of the part, for the log. */
  readonly what: string;
  readonly limitMs: number;
  readonly close: () => Promise<void>;
}

/**
 * Closes one part after another. A part that fails, or exceeds its time limit, is logged and skipped: the others
 * are closed anyway. Returns false if there was one.
 */
export async function closeInTurn(
  steps: readonly ClosingStep[],
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): Promise<boolean> {
  let isClean = true;
  for (const { what, limitMs, close } of steps) {
    try {
      if (await within(clock, limitMs, close())) continue;
      logger.error({ what, limitMs }, 'closing took too long: continuing without it');
    } catch (error) {
      endOnDefect(error);
      logger.error({ what, error }, 'closing failed: continuing without it');
    }
    isClean = false;
  }
  return isClean;
}
