import type { SluiceError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import type { Publisher, Receipt } from '../broker/types.js';
import type { CallReceiver, DirectCall } from './direct-call.js';
import type { Edge } from './edge.js';
import { FrameBatch } from './frame-batch.js';
import { findBatchId, PublishScanner, type Uint64 } from './publish-scan.js';
import { encodeReceipt, encodeRefusal } from './receipts.js';
import type { ReceiveWindows } from './receive-windows.js';

/** A batch whose answer has not been sent. They form a list in the order of the stream. */
interface PendingBatch {
  readonly batchId: Uint64;
  answer: Receipt | SluiceError | undefined;
  next: PendingBatch | undefined;
}

/** Of all streams: none keeps anything in it. */
const frames = new FrameBatch();

/**
 * `PublishStream`: an answer for each batch, in the order of the stream. A refused batch ends nothing. Batches
 * without an answer, and answers that the client does not read, are bounded together: beyond that the stream is not
 * read.
 */
export class PublishStreamCall implements CallReceiver {
  readonly #call: DirectCall;
  readonly #publisher: Publisher;
  readonly #scanner: PublishScanner;
  readonly #windows: ReceiveWindows;
  /** Asked for once: a connection that has closed does not tell it any more. */
  readonly #peer: string;
  #first: PendingBatch | undefined;
  #last: PendingBatch | undefined;
  /** Batches that were read and whose answer has not left for the transport. */
  #unansweredCount = 0;
  #isClosing = false;
  /** The next request has been asked for, or will be once there is room. */
  #isReadUnderWay = false;
  #willAnswer = false;
  #failure: unknown;

  constructor(call: DirectCall, edge: Edge) {
    this.#call = call;
    this.#windows = edge.receiveWindows;
    this.#peer = call.peer;
    this.#windows.enter(this.#peer);
    this.#publisher = edge.broker.openPublisher(this.#peer);
    this.#scanner = new PublishScanner(edge.scanLimits, 'PublishStream');
  }

  begin(): void {
    this.#call.sendHeaders();
    this.#readWhenReady();
  }

  request(bytes: Buffer): void {
    this.#isReadUnderWay = false;
    this.#windows.read(this.#peer, bytes.length);
    let batch: ReturnType<PublishScanner['scan']>;
    try {
      batch = this.#scanner.scan(bytes);
    } catch (thrown) {
      this.#refuse(bytes, this.#call.clientError(thrown));
      return;
    }
    const pending = this.#addPending(batch.batchId);
    this.#publisher.publish(batch, (error, receipt) => {
      pending.answer = error === undefined ? receipt : this.#call.clientError(error);
      this.#answerSoon();
    });
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
    this.#first = undefined;
    this.#last = undefined;
    this.#publisher.close();
    this.#windows.leave(this.#peer);
  }

  /** Without a batch id there is nobody to tell but the stream as a whole. */
  #refuse(bytes: Buffer, error: SluiceError): void {
    const batchId = findBatchId(bytes);
    if (batchId === undefined) {
      this.#close(error);
      return;
    }
    const pending = this.#addPending(batchId);
    pending.answer = error;
    this.#answerSoon();
    this.#readWhenReady();
  }

  #addPending(batchId: Uint64): PendingBatch {
    const pending: PendingBatch = { batchId, answer: undefined, next: undefined };
    if (this.#last === undefined) this.#first = pending;
    else this.#last.next = pending;
    this.#last = pending;
    this.#unansweredCount++;
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
    let batch = this.#first;
    while (batch?.answer !== undefined) {
      for (; batch?.answer !== undefined && !frames.isFull; batch = batch.next) {
        const { batchId, answer } = batch;
        frames.add(answer instanceof Error ? encodeRefusal(batchId, answer) : encodeReceipt(batchId, answer));
      }
      const count = frames.messageCount;
      this.#call.sendFramed(frames.take(), () => this.#written(count));
    }
    this.#first = batch;
    if (batch === undefined) {
      this.#last = undefined;
      if (this.#isClosing) this.#end();
    }
  };

  #written(count: number): void {
    this.#unansweredCount -= count;
    this.#readWhenReady();
  }

  #readWhenReady(): void {
    if (this.#isClosing || this.#isReadUnderWay) return;
    if (this.#unansweredCount >= limits.batchesPerStream) {
      this.#publisher.awaitReceipts();
      return;
    }
    this.#isReadUnderWay = true;
    this.#publisher.whenReady(this.#read);
  }

  readonly #read = (): void => {
    if (!this.#isClosing) this.#call.read();
  };

  #close(failure: unknown): void {
    this.#isClosing = true;
    this.#failure ??= failure;
    if (this.#first === undefined) this.#end();
  }

  #end(): void {
    if (this.#failure === undefined) this.#call.finish();
    else this.#call.fail(this.#failure);
  }
}
