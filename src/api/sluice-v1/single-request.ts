import {
  create,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { SluiceError } from '../../base/errors.js';
import { InvariantError, isDefect } from '../../base/invariant.js';
import type { CallEnd, CallReceiver, DirectCall, OpenCall } from '../../transport/grpc/direct-call.js';
import { decode } from './convert-values.js';

/** A call with one request. Runs it when the client has closed its half. */
export abstract class SingleRequestCall implements CallReceiver {
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

/** The method of a unary call, as protobuf-es describes it. */
interface UnaryMethod<I extends DescMessage, O extends DescMessage> {
  readonly name: string;
  readonly input: I;
  readonly output: O;
}

type Handle<I extends DescMessage, O extends DescMessage> = (
  request: MessageShape<I>,
) => MessageInitShape<O> | Promise<MessageInitShape<O>>;

/** Answers a unary call with the result of `handle`, or with the error that it throws. */
export function unary<I extends DescMessage, O extends DescMessage>(
  method: UnaryMethod<I, O>,
  handle: Handle<I, O>,
): OpenCall {
  return (call) => new UnaryCall(call, method, handle);
}

class UnaryCall<I extends DescMessage, O extends DescMessage> extends SingleRequestCall {
  readonly #method: UnaryMethod<I, O>;
  readonly #handle: Handle<I, O>;
  readonly #isLookup: boolean;
  #isRunning = false;

  constructor(call: DirectCall, method: UnaryMethod<I, O>, handle: Handle<I, O>) {
    super(call);
    this.#method = method;
    this.#handle = handle;
    this.#isLookup = /^(Get|List)/.test(method.name);
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
      const response = await this.#handle(decode(input, bytes));
      this.call.answer(Buffer.from(toBinary(output, create(output, response))));
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

/**
 * A lookup changes nothing, so a wrong type or range in its answer must not end the process. The client learns
 * that the call failed, and the log contains the cause. A broken invariant ends the process here too.
 */
function lookupError(thrown: unknown): unknown {
  if (thrown instanceof SluiceError || thrown instanceof InvariantError || !isDefect(thrown)) return thrown;
  return new SluiceError('INTERNAL', `internal error: ${thrown.message}`, { cause: thrown });
}
