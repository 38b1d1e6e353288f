import type { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { ConsumerSession } from '../../broker/types.js';
import {
  type ConsumeRequest,
  ConsumeRequestSchema,
  ConsumeResponseSchema,
} from '../../gen/sluice/v1/broker_pb.js';
import type { Call, CallEnd, Encoded, StreamReceiver } from '../call.js';
import { decode } from '../decode.js';
import { type SettlementRequest, scanAcks } from './ack-scan.js';
import { ConsumerStream } from './consumer-stream.js';
import {
  fromSettleResult,
  toConsumeOptions,
  toCredit,
  toLastDeliveryId,
  toSettlements,
} from './convert-session.js';
import { invalidField } from './convert-values.js';
import { runsTag } from './frames.js';
import type { HandlerServices } from './handler-services.js';

/**
 * `Consume`: the first request opens the session; later requests settle messages and change credit. A client that
 * closes its half is leaving: its last settlements are answered, then the stream ends with OK, and the messages
 * that it holds are free.
 */
export class ConsumeCall implements StreamReceiver<typeof ConsumeRequestSchema> {
  readonly #call: Call<typeof ConsumeResponseSchema>;
  readonly #services: HandlerServices;
  readonly #stream: ConsumerStream<typeof ConsumeResponseSchema>;
  #hasSubscribed = false;
  #isLeaving = false;
  #isSettling = false;
  /** Settlement requests that the broker has not answered. */
  #settlingCount = 0;
  /** Settlement requests that were read and whose answer has not left for the transport. */
  #unansweredCount = 0;
  /** The call ends with this error once the broker has answered the settlements under way. */
  #failure: SluiceError | undefined;
  /** The next request is not read until some owed answers have left for the transport. */
  #isHeld = false;

  constructor(call: Call<typeof ConsumeResponseSchema>, services: HandlerServices) {
    this.#call = call;
    this.#services = services;
    this.#stream = new ConsumerStream(
      call,
      services,
      ConsumeResponseSchema,
      runsTag.ConsumeResponse,
      (error) => this.#failWhenSettled(error),
    );
  }

  begin(): void {
    this.#call.read();
  }

  request(bytes: Encoded<typeof ConsumeRequestSchema>): void {
    const { session } = this.#stream;
    const acks = session === undefined ? undefined : scanAcks(bytes);
    if (session !== undefined) this.#widen(bytes.length);
    if (session !== undefined && acks !== undefined) {
      this.#settle(session, acks, bytes.length);
      this.#readMore();
      return;
    }
    const request = decode(ConsumeRequestSchema, bytes);
    if (!this.#hasSubscribed) this.#subscribe(request, bytes.length);
    else if (request.subscribe !== undefined) {
      throw invalidField('subscribe', 'only the first request of a stream has it');
    } else if (session !== undefined) this.#update(session, request, bytes.length);
  }

  halfClose(): void {
    if (!this.#hasSubscribed) throw invalidField('subscribe', 'the stream ended without a request');
    this.#isLeaving = true;
    const { session } = this.#stream;
    if (session !== undefined) this.#services.broker.setCredit(session.sessionId, { messages: 0 });
    this.#leaveWhenAnswered();
  }

  stop(error: SluiceError): void {
    this.#stream.close('left');
    this.#failWhenSettled(error);
  }

  over(end: CallEnd): void {
    // A consumer that has closed its half may close its connection before the end of the stream.
    this.#stream.over(this.#isLeaving && end === 'broke' ? 'answered' : end);
    const { windows, context } = this.#call;
    if (this.#isSettling) windows.leaveConsumer(context.peer);
  }

  /** Many settlements need a wide window, as many messages do. A consumer that never settles needs none. */
  #widen(bytes: number): void {
    const { windows, context } = this.#call;
    if (!this.#isSettling) windows.enterConsumer(context.peer);
    this.#isSettling = true;
    windows.read(context.peer, bytes);
  }

  /** The next request is read when the session is open. */
  #subscribe(request: ConsumeRequest, requestBytes: number): void {
    if (request.subscribe === undefined) {
      throw invalidField('subscribe', 'the first request of a stream must have it');
    }
    this.#hasSubscribed = true;
    const options = toConsumeOptions(request.subscribe, this.#call.context, 'subscribe.');
    this.#call.nextTurn(() =>
      this.#stream.open(options, (session) => this.#update(session, request, requestBytes)),
    );
  }

  #update(session: ConsumerSession, request: ConsumeRequest, requestBytes: number): void {
    if (request.flowControl !== undefined) {
      this.#services.broker.setCredit(session.sessionId, toCredit(request.flowControl));
    }
    if (request.settlements.length > 0) {
      const { settlementId, settlements } = request;
      const lastDeliveryId = toLastDeliveryId(request.lastDeliveryId);
      const settlement = { settlementId, settlements: toSettlements(settlements), lastDeliveryId };
      this.#settle(session, settlement, requestBytes);
    }
    this.#readMore();
  }

  /**
   * An answer is rarely longer than its request: the length of the request counts as owed until the answer is
   * sent.
   */
  #settle(session: ConsumerSession, request: SettlementRequest, requestBytes: number): void {
    const { settlementId, settlements, lastDeliveryId } = request;
    const { owed } = this.#call;
    const dueBytes = requestBytes + limits.answerOverheadBytes;
    owed.add(dueBytes);
    this.#settlingCount++;
    this.#unansweredCount++;
    this.#services.broker
      .settle(session.sessionId, settlements, lastDeliveryId)
      .then((result) => {
        this.#settlingCount--;
        this.#stream.send({ settled: { settlementId, result: fromSettleResult(result) } }, this.#answered);
        owed.remove(dueBytes);
        if (this.#failure !== undefined) this.#failWhenSettled(this.#failure);
      })
      .catch((thrown) => this.#call.fail(thrown));
  }

  /**
   * The session has ended, and its settlements under way still take effect: the client must learn of them. The store
   * answers them, or fails.
   */
  #failWhenSettled(error: SluiceError): void {
    this.#failure ??= error;
    if (this.#settlingCount === 0) this.#call.fail(this.#failure);
  }

  /** An answer has left for the transport. Until the client reads, it still counts. */
  readonly #answered = (): void => {
    this.#unansweredCount--;
    if (this.#isHeld) this.#readMore();
    this.#leaveWhenAnswered();
  };

  readonly #readMore = (): void => {
    const { owed } = this.#call;
    this.#isHeld = owed.isFull || this.#unansweredCount >= limits.settlementRequestsPerStream;
    if (!this.#isHeld) this.#call.read();
    else if (owed.isFull) owed.whenRoom(this.#readIfHeld);
  };

  readonly #readIfHeld = (): void => {
    if (this.#isHeld) this.#readMore();
  };

  #leaveWhenAnswered(): void {
    if (!this.#isLeaving || this.#unansweredCount > 0) return;
    const { session } = this.#stream;
    // Some libraries close their half before they reset the stream: a consumer that still holds messages is not
    // leaving.
    if (session?.isHolding) this.#services.clock.after(limits.resetGraceMs, () => this.#leave());
    else this.#leave();
  }

  #leave(): void {
    if (this.#call.isOver) return;
    this.#stream.close('left');
    this.#call.finish();
  }
}
