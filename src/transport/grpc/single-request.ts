import { create, type DescMessage, type DescMethod, type MessageShape, toBinary } from '@bufbuild/protobuf';
import type { CallEnd, RequestReceiver, StreamReceiver } from '../../api/call.js';
import { decode } from '../../api/decode.js';
import type { ServerStreamingHandler, UnaryHandler } from '../../api/methods.js';
import { SluiceError } from '../../base/errors.js';
import { InvariantError, isDefect } from '../../base/invariant.js';
import type { DirectCall } from './direct-call.js';

/** A call with one request. Runs it when the client has closed its half. */
export abstract class SingleRequestCall implements StreamReceiver {
  protected readonly call: DirectCall;
  #bytes: Buffer | undefined;

  constructor(call: DirectCall) {
    this.call = call;
  }

  protected abstract run(bytes: Buffer): void;
  abstract stop(error: SluiceError): void;
  abstract over(end: CallEnd): void;

  begin(): void {
    this.call.read();
  }

  request(bytes: Buffer): void {
    this.#bytes = bytes;
    this.call.read();
  }

  halfClose(): void {
    if (this.#bytes === undefined) {
      throw new SluiceError('MALFORMED_REQUEST', 'this method takes one request, and there is none');
    }
    const bytes = this.#bytes;
    this.#bytes = undefined;
    this.run(bytes);
  }
}

/** Answers a call with what its handler returns, or with the error that it throws. */
export class UnaryCall extends SingleRequestCall {
  readonly #method: DescMethod;
  readonly #handle: UnaryHandler;
  readonly #isLookup: boolean;
  #isRunning = false;

  constructor(call: DirectCall, method: DescMethod, handle: UnaryHandler, isLookup: boolean) {
    super(call);
    this.#method = method;
    this.#handle = handle;
    this.#isLookup = isLookup;
  }

  protected override run(bytes: Buffer): void {
    this.call.whenAnswerable(() => {
      this.#isRunning = true;
      void this.#answer(bytes);
    });
  }

  async #answer(bytes: Buffer): Promise<void> {
    const { input, output } = this.#method;
    try {
      const response = await this.#handle(decode(input, bytes), this.call.context);
      this.call.answer(toBinary(output, create(output, response)));
    } catch (thrown) {
      this.call.fail(this.#isLookup ? lookupError(thrown) : thrown);
    }
  }

  /** The broker finishes what it has begun, and answers the client. */
  override stop(error: SluiceError): void {
    if (!this.#isRunning) this.call.fail(error);
  }

  override over(): void {}
}

/** Decodes the request of a call and hands it to the handler, which sends the responses. */
export class ServerStreamingCall extends SingleRequestCall {
  readonly #input: DescMessage;
  readonly #receiver: RequestReceiver;

  constructor(call: DirectCall, { input }: DescMethod, handler: ServerStreamingHandler) {
    super(call);
    this.#input = input;
    this.#receiver = handler(call);
  }

  protected override run(bytes: Buffer): void {
    const request: MessageShape<DescMessage> = decode(this.#input, bytes);
    this.#receiver.run(request);
  }

  override stop(error: SluiceError): void {
    this.#receiver.stop(error);
  }

  override over(end: CallEnd): void {
    this.#receiver.over(end);
  }
}

/**
 * A lookup changes nothing, so a wrong type or range in its answer must not end the process. The client learns
 * that the call failed, and the log contains the cause. A broken invariant ends the process here too.
 */
function lookupError(thrown: unknown): unknown {
  if (thrown instanceof SluiceError || thrown instanceof InvariantError || !isDefect(thrown)) return thrown;
  return new SluiceError('INTERNAL', `internal error: ${thrown.message}`, { cause: thrown });
}
