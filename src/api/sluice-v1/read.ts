import type { SluiceError } from '../../base/errors.js';
import type { DeliveredRun, ReadOptions, ReadSession, ReadSink } from '../../broker/types.js';
import type { ReadRequest, ReadRequestSchema, ReadResponseSchema } from '../../gen/sluice/v1/broker_pb.js';
import type { Call, RequestReceiver } from '../call.js';
import { earliest, toStart } from './convert-start.js';
import { checkTopicName, toNumberAtMost } from './convert-values.js';
import { runsTag, sendRuns } from './frames.js';
import type { HandlerServices } from './handler-services.js';

/** `Read`: messages without a subscription. */
export class ReadCall implements RequestReceiver<typeof ReadRequestSchema>, ReadSink {
  readonly #call: Call<typeof ReadResponseSchema>;
  readonly #services: HandlerServices;
  #session: ReadSession | undefined;
  #isClosed = false;

  constructor(call: Call<typeof ReadResponseSchema>, services: HandlerServices) {
    this.#call = call;
    this.#services = services;
  }

  run(request: ReadRequest): void {
    const options = toReadOptions(request);
    this.#call.nextTurn(() => this.#open(options));
  }

  #open(options: ReadOptions): void {
    this.#services.broker
      .read(options, this)
      .then((session) => {
        this.#session = session;
        if (this.#isClosed) session.close();
        else this.#call.sendHeaders();
      })
      .catch((thrown) => this.#call.fail(thrown));
  }

  deliver(runs: readonly DeliveredRun[], written: () => void): void {
    sendRuns(this.#call, this.#services.frameMemory, runsTag.ReadResponse, runs, written);
  }

  ended(error: SluiceError | undefined): void {
    if (error === undefined) this.#call.finish();
    else this.#call.fail(error);
  }

  stop(error: SluiceError): void {
    this.over();
    this.#call.fail(error);
  }

  over(): void {
    this.#isClosed = true;
    this.#session?.close();
  }
}

function toReadOptions(request: ReadRequest): ReadOptions {
  return {
    topic: checkTopicName(request.topic, 'topic'),
    partition: request.partition,
    start: toStart(request.start, 'start') ?? earliest,
    limit: toNumberAtMost(request.limit),
    isFollowing: request.follow,
  };
}
