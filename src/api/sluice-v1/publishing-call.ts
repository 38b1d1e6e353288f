import type { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { Publisher } from '../../broker/types.js';
import type { CallReceiver, DirectCall } from '../../transport/grpc/direct-call.js';
import type { ReceiveWindows } from '../../transport/grpc/receive-windows.js';
import type { Edge } from './edge.js';
import { PublishScanner } from './publish-scan.js';

/** A producer's stream: its requests are read one by one, while there is room for them. */
export abstract class PublishingCall implements CallReceiver {
  protected readonly call: DirectCall;
  protected readonly publisher: Publisher;
  protected readonly scanner: PublishScanner;
  /** Batches that were read and have not ended. The method defines the end. */
  protected pendingCount = 0;
  /** Nothing more is read: the client has finished, or a batch failed. */
  protected isClosing = false;
  protected failure: unknown;
  readonly #windows: ReceiveWindows;
  /** Read once: the connection can't be asked after it has closed. */
  readonly #peer: string;
  /** The next request has been asked for, or will be once there is room. */
  #isReadUnderWay = false;

  constructor(call: DirectCall, edge: Edge, method: 'Publish' | 'PublishStream') {
    this.call = call;
    this.#windows = edge.receiveWindows;
    this.#peer = call.peer;
    this.#windows.enter(this.#peer);
    this.publisher = edge.broker.openPublisher(this.#peer);
    this.scanner = new PublishScanner(edge.scanLimits, method);
  }

  /** Handles one request. `readWhenReady` asks for the next one. */
  protected abstract publish(bytes: Buffer): void;

  /** Nothing more is read: ends the call when all read requests have been handled. */
  protected abstract endWhenDone(): void;

  begin(): void {
    this.readWhenReady();
  }

  request(bytes: Buffer): void {
    this.#isReadUnderWay = false;
    this.#windows.read(this.#peer, bytes.length);
    this.publish(bytes);
  }

  halfClose(): void {
    this.close(undefined);
  }

  stop(error: SluiceError): void {
    this.close(error);
    this.publisher.stop(error);
  }

  over(): void {
    this.isClosing = true;
    this.publisher.close();
    this.#windows.leave(this.#peer);
  }

  protected close(failure: unknown): void {
    this.isClosing = true;
    this.failure ??= failure;
    this.endWhenDone();
  }

  /** Too much is pending: the stream is not read until a later call of `readWhenReady`. */
  protected get isHeld(): boolean {
    return this.pendingCount >= limits.batchesPerStream;
  }

  protected readWhenReady(): void {
    if (this.isClosing || this.#isReadUnderWay) return;
    if (this.isHeld) {
      this.publisher.awaitReceipts();
      return;
    }
    this.#isReadUnderWay = true;
    this.publisher.whenReady(this.#read);
  }

  readonly #read = (): void => {
    if (!this.isClosing) this.call.read();
  };
}
