import {
  BacklogLimit_WhenFull,
  Consumer_WaitReason,
  Durability,
  MessageStatus_State,
  Ordering,
  Producer_HoldReason,
} from '@sluice/client/api';
import { type Kind, ValueFault } from '../config/kinds.js';

/** The values of an enum of the API, in the spelling of the command line. */
function named<T extends number>(values: Readonly<Record<string, T>>): Kind<T> {
  const names = Object.keys(values);
  return {
    placeholder: `<${names.join('|')}>`,
    parse(text) {
      const value = values[text];
      if (value === undefined) throw new ValueFault(`one of ${names.join(', ')}`);
      return value;
    },
    // A newer broker may send values that are unknown here.
    format: (value) => names.find((name) => values[name] === value) ?? '-',
  };
}

export const durability = named<Durability>({ synced: Durability.SYNCED, written: Durability.WRITTEN });
export const ordering = named<Ordering>({
  partition: Ordering.PARTITION,
  key: Ordering.KEY,
  none: Ordering.NONE,
});
export const whenFull = named<BacklogLimit_WhenFull>({
  block: BacklogLimit_WhenFull.BLOCK,
  reject: BacklogLimit_WhenFull.REJECT,
});

export const waitReason = named<Consumer_WaitReason>({
  'caught up': Consumer_WaitReason.CAUGHT_UP,
  'message credit': Consumer_WaitReason.MESSAGE_CREDIT,
  'byte credit': Consumer_WaitReason.BYTE_CREDIT,
  transport: Consumer_WaitReason.TRANSPORT,
  backoff: Consumer_WaitReason.BACKOFF,
  'not assigned': Consumer_WaitReason.NOT_ASSIGNED,
});

export const holdReason = named<Producer_HoldReason>({
  writer: Producer_HoldReason.WRITER,
  share: Producer_HoldReason.SHARE,
  backlog: Producer_HoldReason.BACKLOG,
  disk: Producer_HoldReason.DISK,
  receipts: Producer_HoldReason.RECEIPTS,
});

export const messageState = named<MessageStatus_State>({
  pending: MessageStatus_State.PENDING,
  processing: MessageStatus_State.PROCESSING,
  done: MessageStatus_State.DONE,
  failed: MessageStatus_State.FAILED,
});
