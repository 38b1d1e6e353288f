import type { SluiceError } from '../../base/errors.js';
import { SubscribeRequestSchema, SubscribeResponseSchema } from '../../gen/sluice/v1/broker_pb.js';
import type { CallEnd, DirectCall } from '../../transport/grpc/direct-call.js';
import { ConsumerStream } from './consumer-stream.js';
import { toConsumeOptions } from './convert-session.js';
import { decode } from './convert-values.js';
import type { Edge } from './edge.js';
import { runsTag } from './frames.js';
import { SingleRequestCall } from './single-request.js';

/** `Subscribe`: one request opens a session, which lasts as long as the stream. */
export class SubscribeCall extends SingleRequestCall {
  readonly #stream: ConsumerStream;

  constructor(call: DirectCall, edge: Edge) {
    super(call);
    this.#stream = new ConsumerStream(call, edge, SubscribeResponseSchema, runsTag.SubscribeResponse);
  }

  protected override run(bytes: Buffer): void {
    const options = toConsumeOptions(decode(SubscribeRequestSchema, bytes), this.call.peer);
    this.call.nextTurn(() => this.#stream.open(options, () => {}));
  }

  override stop(error: SluiceError): void {
    this.#stream.close('left');
    this.call.fail(error);
  }

  override over(end: CallEnd): void {
    this.#stream.over(end);
  }
}
