import type { SluiceError } from '../errors.js';
import type { HeldMessage } from './held-message.js';

/** The destination of messages: a handler, or a caller that iterates. */
export interface Outlet {
  /** A lane may have a message to hand out. */
  wake(): void;
  /** Whether it would take another message now, although it has not settled earlier ones. */
  readonly isGathering: boolean;
  /** Whether it would take another message now. */
  readonly isWaiting: boolean;
  /** A message is settled or lost. */
  over(message: HeldMessage): void;
  /** Hands out no more messages. With an error if the consumer failed. Idempotent. */
  end(error?: SluiceError): void;
  /** Resolves when no handed-out message is being handled. */
  whenIdle(): Promise<void>;
}
