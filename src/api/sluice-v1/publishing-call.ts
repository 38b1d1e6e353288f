import type { DescMessage } from '@bufbuild/protobuf';
import type { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { Publisher } from '../../broker/types.js';
import type { PublishRequestSchema, PublishStreamRequestSchema } from '../../gen/sluice/v1/broker_pb.js';
import type { Call, Encoded, StreamReceiver } from '../call.js';
import type { HandlerServices } from './handler-services.js';
import { PublishScanner } from './publish-scan.js';

/** The requests of both methods that publish. */
type PublishingRequest = typeof PublishRequestSchema | typeof PublishStreamRequestSchema;

/** A producer's stream: its requests are read one by one, while there is room for them. */
export abstract class PublishingCall<I extends PublishingRequest, O extends DescMessage>
  implements StreamReceiver<I>
{
  protected readonly call: Call<O>;
  protected readonly publisher: Publisher;
  protected readonly scanner: PublishScanner;
  /** Batches that were read and have not ended. The method defines the end. */
  protected pendingCount = 0;
  /** Nothing more is read: the client has finished, or a batch failed. */
  protected isClosing = false;
  protected failure: unknown;
  /** The next request has been asked for, or will be once there is room. */
  #isReadUnderWay = false;

  constructor(call: Call<O>, services: HandlerServices, method: 'Publish' | 'PublishStream') {
    this.call = call;
    this.scanner = new PublishScanner(services.scanLimits, method);
    this.publisher = services.broker.openPublisher(call.context);
    // Last: a constructor that throws gets no `over`, which leaves again.
    call.windows.enter(call.context.peer);
  }

  /** Handles one request. `readWhenReady` asks for the next one. */
  protected abstract publish(bytes: Encoded<I>): void;

  /** Nothing more is read: ends the call when all read requests have been handled. */
  protected abstract endWhenDone(): void;

  begin(): void {
    this.readWhenReady();
  }

  request(bytes: Encoded<I>): void {
    this.#isReadUnderWay = false;
    this.call.windows.read(this.call.context.peer, bytes.length);
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
    this.call.windows.leave(this.call.context.peer);
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
