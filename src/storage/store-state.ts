import type { SluiceError } from '../base/errors.js';
import type { LocalLogFiles } from './commit/local-round-log.js';
import type { Engine } from './engine/engine.js';
import type { Recovered } from './recovery/recovered.js';
import type { DamageSite } from './recovery/table-damage.js';

/** The result of opening. */
export interface Opened {
  readonly engine: Engine;
  readonly recovered: Recovered;
  readonly noteFiles: LocalLogFiles;
  readonly paths: Pick<DamageSite, 'databasePath' | 'notePath'>;
  readonly syncedOffsetsPath: string;
  readonly warnings: readonly string[];
}

export type StoreState =
  | { readonly kind: 'open' }
  /** Accepts nothing new. Submitted transactions are being written. */
  | { readonly kind: 'closing' }
  /** The log of rounds has ended: memory may be ahead of the disk, and nothing more is written. */
  | { readonly kind: 'failed'; readonly error: SluiceError };
