import { create, toBinary } from '@bufbuild/protobuf';
import type { SluiceError } from '../../base/errors.js';
import type { RedriveOptions, RedriveProgress, RedriveSession, RedriveSink } from '../../broker/types.js';
import {
  type RedriveDeadLettersRequest,
  type RedriveDeadLettersRequestSchema,
  RedriveDeadLettersResponseSchema,
} from '../../gen/sluice/v1/admin_pb.js';
import type { Call, RequestReceiver } from '../call.js';
import { checkName, toNumberAtMost } from './convert-values.js';
import type { HandlerServices } from './handler-services.js';

/** `RedriveDeadLetters`: starts a redrive and reports its progress. */
export class RedriveCall implements RequestReceiver<typeof RedriveDeadLettersRequestSchema>, RedriveSink {
  readonly #call: Call<typeof RedriveDeadLettersResponseSchema>;
  readonly #services: HandlerServices;
  #session: RedriveSession | undefined;
  #isProgressUnderWay = false;
  /** The latest progress that was not sent because of that. */
  #pendingProgress: RedriveProgress | undefined;

  constructor(call: Call<typeof RedriveDeadLettersResponseSchema>, services: HandlerServices) {
    this.#call = call;
    this.#services = services;
  }

  run(request: RedriveDeadLettersRequest): void {
    const options = toRedriveOptions(request);
    this.#call.nextTurn(() => {
      this.#session = this.#services.broker.redrive(options, this);
      this.#call.sendHeaders();
    });
  }

  /** At most one waits for a client that does not read: they must not pile up. */
  progress(progress: RedriveProgress): void {
    if (this.#isProgressUnderWay) {
      this.#pendingProgress = progress;
      return;
    }
    this.#pendingProgress = undefined;
    this.#isProgressUnderWay = true;
    this.#send(progress, () => {
      this.#isProgressUnderWay = false;
    });
  }

  ended(error: SluiceError | undefined): void {
    if (this.#pendingProgress !== undefined) this.#send(this.#pendingProgress);
    if (error === undefined) this.#call.finish();
    else this.#call.fail(error);
  }

  stop(error: SluiceError): void {
    this.over();
    this.#call.fail(error);
  }

  over(): void {
    this.#session?.close();
  }

  #send({ redrivenCount, remainingCount }: RedriveProgress, written?: () => void): void {
    const response = create(RedriveDeadLettersResponseSchema, {
      redrivenCount: BigInt(redrivenCount),
      remainingCount: BigInt(remainingCount),
    });
    this.#call.sendOwed(toBinary(RedriveDeadLettersResponseSchema, response), written);
  }
}

function toRedriveOptions(request: RedriveDeadLettersRequest): RedriveOptions {
  return {
    topic: checkName(request.topic, 'topic'),
    subscription: checkName(request.subscription, 'subscription'),
    isDryRun: request.dryRun,
    limit: toNumberAtMost(request.limit),
    ratePerSecond: request.rate,
  };
}
