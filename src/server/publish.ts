import { create } from '@bufbuild/protobuf';
import type { SluiceError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import type { Publisher, Receipt } from '../broker/types.js';
import { PublishFailureSchema, PublishResponseSchema } from '../gen/sluice/v1/broker_pb.js';
import type { CallReceiver, DirectCall } from './direct-call.js';
import type { Edge } from './edge.js';
import { PublishScanner } from './publish-scan.js';
import { ReceiptSum } from './receipt-sum.js';
import { encodePublishResponse } from './receipts.js';
import type { ReceiveWindows } from './receive-windows.js';

/**
 * `Publish`: many requests, one response. After the first refusal nothing more is read; the answer waits for what
 * was submitted before, so that it can say how much of the stream is durable.
 */
export class PublishCall implements CallReceiver {
  readonly #call: DirectCall;
  readonly #publisher: Publisher;
  readonly #scanner: PublishScanner;
  readonly #windows: ReceiveWindows;
  /** Asked for once: a connection that has closed does not tell it any more. */
  readonly #peer: string;
  readonly #sum = new ReceiptSum();
  #durableRequestCount = 0;
  #pendingCount = 0;
  /** Nothing more is read: the client is done, or something went wrong. */
  #isClosing = false;
  /** The next request has been asked for, or will be once there is room. */
  #isReadUnderWay = false;
  #failure: unknown;

  constructor(call: DirectCall, edge: Edge) {
    this.#call = call;
    this.#windows = edge.receiveWindows;
    this.#peer = call.peer;
    this.#windows.enter(this.#peer);
    this.#publisher = edge.broker.openPublisher(this.#peer);
    this.#scanner = new PublishScanner(edge.scanLimits, 'Publish');
  }

  begin(): void {
    this.#readWhenReady();
  }

  request(bytes: Buffer): void {
    this.#isReadUnderWay = false;
    this.#windows.read(this.#peer, bytes.length);
    let batch: ReturnType<PublishScanner['scan']>;
    try {
      batch = this.#scanner.scan(bytes);
    } catch (thrown) {
      this.#close(thrown);
      return;
    }
    this.#pendingCount++;
    this.#publisher.publish(batch, this.#done);
    this.#readWhenReady();
  }

  halfClose(): void {
    this.#close(undefined);
  }

  stop(error: SluiceError): void {
    this.#close(error);
    this.#publisher.stop(error);
  }

  over(): void {
    this.#isClosing = true;
    this.#publisher.close();
    this.#windows.leave(this.#peer);
  }

  #readWhenReady(): void {
    if (this.#isClosing || this.#isReadUnderWay) return;
    if (this.#pendingCount >= limits.batchesPerStream) {
      this.#publisher.awaitReceipts();
      return;
    }
    this.#isReadUnderWay = true;
    this.#publisher.whenReady(this.#read);
  }

  readonly #read = (): void => {
    if (!this.#isClosing) this.#call.read();
  };

  readonly #done = (error: SluiceError | undefined, receipt: Receipt | undefined): void => {
    this.#pendingCount--;
    if (receipt !== undefined) {
      this.#durableRequestCount++;
      this.#sum.add(receipt);
    }
    if (error !== undefined) this.#close(error);
    else if (this.#isClosing) this.#answerWhenDone();
    else this.#readWhenReady();
  };

  #close(failure: unknown): void {
    this.#isClosing = true;
    this.#failure ??= failure;
    this.#answerWhenDone();
  }

  #answerWhenDone(): void {
    if (this.#pendingCount > 0 || this.#call.isOver) return;
    const durable = this.#sum.total();
    if (this.#failure === undefined) {
      this.#call.send(encodePublishResponse(durable));
      this.#call.finish();
      return;
    }
    if (durable.ranges.length > limits.maxRangesPerFailure) durable.ranges = [];
    const message = create(PublishFailureSchema, {
      durableRequestCount: BigInt(this.#durableRequestCount),
      durable: create(PublishResponseSchema, durable),
    });
    this.#call.fail(this.#failure, { schema: PublishFailureSchema, message });
  }
}
