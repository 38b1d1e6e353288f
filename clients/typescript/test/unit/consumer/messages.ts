import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { ConsumeResponseSchema, type MessageRunSchema } from '@sluice/client/api';
import { HeldMessage, type Lender } from '#client/consumer/held-message.js';
import { type Run, readResponse } from '#client/consumer/response.js';
import type { Outcome } from '#client/consumer/settlement.js';

/** A run as it comes off the wire. */
export function runOf(init: MessageInitShape<typeof MessageRunSchema>): Run {
  const response = create(ConsumeResponseSchema, { runs: [init] });
  return readResponse(Buffer.from(toBinary(ConsumeResponseSchema, response))).runs[0]!;
}

/** Notes what is settled, and answers that it is durable. */
export class TestLender implements Lender {
  readonly topic = 'orders';
  readonly outcomes: { readonly offset: number; readonly outcome: Outcome }[] = [];

  async settle({ offsetNumber: offset }: HeldMessage, outcome: Outcome): Promise<boolean> {
    this.outcomes.push({ offset, outcome });
    return true;
  }

  acknowledge({ offsetNumber: offset }: HeldMessage): void {
    this.outcomes.push({ offset, outcome: { kind: 'ack' } });
  }

  extend(message: HeldMessage, byMs: number): Promise<boolean> {
    return this.settle(message, { kind: 'extend', byMs });
  }
}

/** Messages with these keys, of one partition, from an offset on. */
export function messagesOf(keys: readonly string[], firstOffset = 0, partition = 0): HeldMessage[] {
  const lender = new TestLender();
  const messages = keys.map((key) => ({ key: Buffer.from(key) }));
  const run = runOf({ partition, firstOffset: BigInt(firstOffset), attempt: 1, messages });
  return keys.map((_, i) => new HeldMessage(lender, run, firstOffset + i));
}
