import type { Clock } from '../../base/clock.js';
import type { SpareMemory } from '../../base/spare-memory.js';
import type { Broker } from '../../broker/types.js';
import type { ScanLimits } from './publish-scan.js';

/** The services that every handler uses. */
export interface HandlerServices {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly scanLimits: ScanLimits;
  /** Memory of frames to consumers, used again. */
  readonly frameMemory: SpareMemory;
}
