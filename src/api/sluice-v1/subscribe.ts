import type { SluiceError } from '../../base/errors.js';
import {
  type SubscribeRequest,
  type SubscribeRequestSchema,
  SubscribeResponseSchema,
} from '../../gen/sluice/v1/broker_pb.js';
import type { Call, CallEnd, RequestReceiver } from '../call.js';
import { ConsumerStream } from './consumer-stream.js';
import { toConsumeOptions } from './convert-session.js';
import { runsTag } from './frames.js';
import type { HandlerServices } from './handler-services.js';

/** `Subscribe`: one request opens a session, which lasts as long as the stream. */
export class SubscribeCall implements RequestReceiver<typeof SubscribeRequestSchema> {
  readonly #call: Call<typeof SubscribeResponseSchema>;
  readonly #stream: ConsumerStream<typeof SubscribeResponseSchema>;

  constructor(call: Call<typeof SubscribeResponseSchema>, services: HandlerServices) {
    this.#call = call;
    this.#stream = new ConsumerStream(
      call,
      services,
      SubscribeResponseSchema,
      runsTag.SubscribeResponse,
      (error) => call.fail(error),
    );
  }

  run(request: SubscribeRequest): void {
    const options = toConsumeOptions(request, this.#call.context);
    this.#call.nextTurn(() => this.#stream.open(options, () => {}));
  }

  stop(error: SluiceError): void {
    this.#stream.close('left');
    this.#call.fail(error);
  }

  over(end: CallEnd): void {
    this.#stream.over(end);
  }
}
