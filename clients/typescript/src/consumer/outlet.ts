import type { SluiceError } from '../errors.js';
import type { HeldMessage } from './held-message.js';

/** The destination of messages: a handler, or a caller that iterates. */
export interface Outlet {
  /** There may be something to hand out. */
  wake(): void;
  /** It would take another message now, and holds what it took before: it gathers. */
  readonly isGathering: boolean;
  /** It would take another message now. */
  readonly isWaiting: boolean;
  /** A message is settled, or lost. */
  over(message: HeldMessage): void;
  /** Hands out no more; with an error where the consumer failed. Harmless twice. */
  end(error?: SluiceError): void;
  /** Resolves when no handed-out message is being handled. */
  whenIdle(): Promise<void>;
}
