import type { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { Receipt } from '../../broker/types.js';
import type {
  PublishStreamRequestSchema,
  PublishStreamResponseSchema,
} from '../../gen/sluice/v1/broker_pb.js';
import type { Call, Encoded } from '../call.js';
import { FrameBatch } from './frame-batch.js';
import type { HandlerServices } from './handler-services.js';
import { findBatchId, type PublishScanner, type Uint64 } from './publish-scan.js';
import { PublishingCall } from './publishing-call.js';
import { answerBytesAtMost, encodeReceipt, encodeRefusal } from './receipts.js';

/** A batch whose answer has not been sent. Batches form a list in the order of the stream. */
interface PendingBatch {
  readonly batchId: Uint64;
  answer: Receipt | SluiceError | undefined;
  /** What its answer may take: counts as owed until it is sent. */
  readonly dueBytes: number;
  next: PendingBatch | undefined;
}

/** Shared by all streams: it is empty between two uses. */
const frames = new FrameBatch();

/**
 * `PublishStream`: an answer for each batch, in the order of the stream. A refused batch ends nothing. Batches
 * without an answer, and answers that the client does not read, are bounded together, by number and by memory: beyond
 * that the stream is not read.
 */
export class PublishStreamCall extends PublishingCall<
  typeof PublishStreamRequestSchema,
  typeof PublishStreamResponseSchema
> {
  #first: PendingBatch | undefined;
  #last: PendingBatch | undefined;
  #willAnswer = false;

  constructor(call: Call<typeof PublishStreamResponseSchema>, services: HandlerServices) {
    super(call, services, 'PublishStream');
  }

  override begin(): void {
    this.call.sendHeaders();
    super.begin();
  }

  protected override publish(bytes: Encoded<typeof PublishStreamRequestSchema>): void {
    let batch: ReturnType<PublishScanner['scan']>;
    try {
      batch = this.scanner.scan(bytes);
    } catch (thrown) {
      this.#refuse(bytes, this.call.clientError(thrown));
      return;
    }
    const pending = this.#addPending(batch.batchId, batch.bounds.length / 4);
    this.publisher.publish(batch, (error, receipt) => {
      pending.answer = error === undefined ? receipt : this.call.clientError(error);
      this.#answerSoon();
    });
    this.readWhenReady();
  }

  override over(): void {
    super.over();
    this.#first = undefined;
    this.#last = undefined;
  }

  /** Without a batch id, only the whole stream can be refused. */
  #refuse(bytes: Encoded<typeof PublishStreamRequestSchema>, error: SluiceError): void {
    const batchId = findBatchId(bytes);
    if (batchId === undefined) {
      this.close(error);
      return;
    }
    const pending = this.#addPending(batchId, 0);
    pending.answer = error;
    this.#answerSoon();
    this.readWhenReady();
  }

  protected override get isHeld(): boolean {
    return super.isHeld || this.call.owed.isFull;
  }

  #addPending(batchId: Uint64, messageCount: number): PendingBatch {
    const dueBytes = answerBytesAtMost(messageCount) + limits.answerOverheadBytes;
    const pending: PendingBatch = { batchId, answer: undefined, dueBytes, next: undefined };
    if (this.#last === undefined) this.#first = pending;
    else this.#last.next = pending;
    this.#last = pending;
    this.pendingCount++;
    this.call.owed.add(dueBytes);
    return pending;
  }

  /** The answers of a round come one after the other, and leave together. */
  #answerSoon(): void {
    if (this.#willAnswer) return;
    this.#willAnswer = true;
    queueMicrotask(this.#sendAnswers);
  }

  readonly #sendAnswers = (): void => {
    this.#willAnswer = false;
    const { owed } = this.call;
    let batch = this.#first;
    while (batch?.answer !== undefined) {
      let dueBytes = 0;
      for (; batch?.answer !== undefined && !frames.isFull; batch = batch.next) {
        const { batchId, answer } = batch;
        frames.add(answer instanceof Error ? encodeRefusal(batchId, answer) : encodeReceipt(batchId, answer));
        dueBytes += batch.dueBytes;
      }
      const count = frames.messageCount;
      const sent = frames.take();
      const sentBytes = sent.length + limits.answerOverheadBytes;
      owed.add(sentBytes - dueBytes);
      this.call.sendFramed(sent, () => this.#written(count, sentBytes));
    }
    this.#first = batch;
    if (batch === undefined) {
      this.#last = undefined;
      if (this.isClosing) this.#end();
    }
  };

  #written(count: number, sentBytes: number): void {
    this.pendingCount -= count;
    this.call.owed.remove(sentBytes);
    this.readWhenReady();
  }

  protected override endWhenDone(): void {
    if (this.#first === undefined) this.#end();
  }

  #end(): void {
    if (this.failure === undefined) this.call.finish();
    else this.call.fail(this.failure);
  }
}
