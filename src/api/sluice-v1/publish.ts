import { create } from '@bufbuild/protobuf';
import type { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { Receipt } from '../../broker/types.js';
import {
  PublishFailureSchema,
  type PublishRequestSchema,
  PublishResponseSchema,
} from '../../gen/sluice/v1/broker_pb.js';
import type { Call, Encoded } from '../call.js';
import type { HandlerServices } from './handler-services.js';
import type { PublishScanner } from './publish-scan.js';
import { PublishingCall } from './publishing-call.js';
import { ReceiptSum } from './receipt-sum.js';
import { encodePublishResponse } from './receipts.js';

/**
 * `Publish`: many requests, one response. After the first refusal nothing more is read. The answer waits for
 * earlier batches, so that it can say how much of the stream is durable.
 */
export class PublishCall extends PublishingCall<typeof PublishRequestSchema, typeof PublishResponseSchema> {
  readonly #sum = new ReceiptSum();
  #durableRequestCount = 0;

  constructor(call: Call<typeof PublishResponseSchema>, services: HandlerServices) {
    super(call, services, 'Publish');
  }

  protected override publish(bytes: Encoded<typeof PublishRequestSchema>): void {
    let batch: ReturnType<PublishScanner['scan']>;
    try {
      batch = this.scanner.scan(bytes);
    } catch (thrown) {
      this.close(thrown);
      return;
    }
    this.pendingCount++;
    this.publisher.publish(batch, this.#done);
    this.readWhenReady();
  }

  readonly #done = (error: SluiceError | undefined, receipt: Receipt | undefined): void => {
    this.pendingCount--;
    if (receipt !== undefined) {
      this.#durableRequestCount++;
      this.#add(receipt);
    }
    if (error !== undefined) this.close(error);
    else if (this.isClosing) this.endWhenDone();
    else this.readWhenReady();
  };

  /** The ranges count as owed until the call is closed. If they take too much memory, the answer omits them. */
  #add(receipt: Receipt): void {
    const { owed } = this.call;
    const rangeCount = this.#sum.rangeCount;
    this.#sum.add(receipt);
    if (this.#sum.rangeCount === rangeCount) return;
    owed.add((this.#sum.rangeCount - rangeCount) * limits.rangeOverheadBytes);
    if (rangeCount === 0 || !owed.isFull) return;
    owed.remove(this.#sum.rangeCount * limits.rangeOverheadBytes);
    this.#sum.giveUpRanges();
  }

  protected override endWhenDone(): void {
    if (this.pendingCount > 0 || this.call.isOver) return;
    const durable = this.#sum.total();
    if (this.failure === undefined) {
      this.call.sendOwed(encodePublishResponse(durable));
      this.call.finish();
      return;
    }
    if (durable.ranges.length > limits.maxRangesPerFailure) durable.ranges = [];
    const message = create(PublishFailureSchema, {
      durableRequestCount: BigInt(this.#durableRequestCount),
      durable: create(PublishResponseSchema, durable),
    });
    this.call.fail(this.failure, { schema: PublishFailureSchema, message });
  }
}
