import type { SluiceError } from '../../base/errors.js';
import type { DeliveredRun, ReadOptions, ReadSession, ReadSink } from '../../broker/types.js';
import { type ReadRequest, ReadRequestSchema } from '../../gen/sluice/v1/broker_pb.js';
import type { DirectCall } from '../../transport/grpc/direct-call.js';
import { earliest, toStart } from './convert-start.js';
import { checkName, decode, toNumberAtMost } from './convert-values.js';
import type { Edge } from './edge.js';
import { runsTag, sendRuns } from './frames.js';
import { SingleRequestCall } from './single-request.js';

/** `Read`: messages without a subscription. */
export class ReadCall extends SingleRequestCall implements ReadSink {
  readonly #edge: Edge;
  #session: ReadSession | undefined;
  #isClosed = false;

  constructor(call: DirectCall, edge: Edge) {
    super(call);
    this.#edge = edge;
  }

  protected override run(bytes: Buffer): void {
    const options = toReadOptions(decode(ReadRequestSchema, bytes));
    this.call.nextTurn(() => this.#open(options));
  }

  #open(options: ReadOptions): void {
    this.#edge.broker
      .read(options, this)
      .then((session) => {
        this.#session = session;
        if (this.#isClosed) session.close();
        else this.call.sendHeaders();
      })
      .catch((thrown) => this.call.fail(thrown));
  }

  deliver(runs: readonly DeliveredRun[], written: () => void): void {
    sendRuns(this.call, this.#edge.frameMemory, runsTag.ReadResponse, runs, written);
  }

  ended(error: SluiceError | undefined): void {
    if (error === undefined) this.call.finish();
    else this.call.fail(error);
  }

  override stop(error: SluiceError): void {
    this.over();
    this.call.fail(error);
  }

  override over(): void {
    this.#isClosed = true;
    this.#session?.close();
  }
}

function toReadOptions(request: ReadRequest): ReadOptions {
  return {
    topic: checkName(request.topic, 'topic'),
    partition: request.partition,
    start: toStart(request.start, 'start') ?? earliest,
    limit: toNumberAtMost(request.limit),
    isFollowing: request.follow,
  };
}
