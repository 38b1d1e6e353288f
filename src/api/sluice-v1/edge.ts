import type { Clock } from '../../base/clock.js';
import type { Logger } from '../../base/logger.js';
import type { SpareMemory } from '../../base/spare-memory.js';
import type { Broker } from '../../broker/types.js';
import type { ReceiveWindows } from '../../transport/grpc/receive-windows.js';
import type { ScanLimits } from './publish-scan.js';

/** The services that every handler uses. */
export interface Edge {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly scanLimits: ScanLimits;
  readonly receiveWindows: ReceiveWindows;
  /** For frames to consumers. */
  readonly frameMemory: SpareMemory;
}
