import type { StartPosition } from '../../base/model.js';
import {
  type StartPosition as ApiStartPosition,
  StartPosition_Boundary,
} from '../../gen/sluice/v1/message_pb.js';
import { invalidField, toNumber, toTimeMs } from './convert-values.js';

/** Undefined if the request does not choose a position. */
export function toStart(start: ApiStartPosition | undefined, field: string): StartPosition | undefined {
  const position = start?.position;
  switch (position?.case) {
    case undefined:
      return undefined;
    case 'boundary':
      switch (position.value) {
        case StartPosition_Boundary.UNSPECIFIED:
          return undefined;
        case StartPosition_Boundary.EARLIEST:
          return { kind: 'earliest' };
        case StartPosition_Boundary.LATEST:
          return { kind: 'latest' };
        default:
          throw invalidField(`${field}.boundary`, 'there is no such boundary');
      }
    case 'offset':
      return { kind: 'offset', offset: toNumber(position.value, `${field}.offset`) };
    case 'time':
      return { kind: 'time', timeMs: toTimeMs(position.value, `${field}.time`) };
  }
}

export const earliest: StartPosition = { kind: 'earliest' };
