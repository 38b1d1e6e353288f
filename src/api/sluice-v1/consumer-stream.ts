import { create, type DescMessage, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { ConsumeOptions, ConsumerSession, ConsumerSink, DeliveredRun } from '../../broker/types.js';
import type { PartitionInterval, SessionEnd } from '../../core/types.js';
import type { ConsumeResponseSchema, SubscribeResponseSchema } from '../../gen/sluice/v1/broker_pb.js';
import type { Call, CallEnd } from '../call.js';
import { fromHeartbeat, fromSession } from './convert-session.js';
import { sendRuns } from './frames.js';
import type { HandlerServices } from './handler-services.js';
import { toRange } from './receipts.js';

/** The state of a consumer's session. It only moves down this list. */
type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'opening' }
  | { readonly kind: 'open'; readonly session: ConsumerSession }
  | { readonly kind: 'closed' };

const sessionEnds: Readonly<Record<CallEnd, SessionEnd>> = {
  answered: 'left',
  cancelled: 'cancelled',
  broke: 'broke',
};

/** Both methods have the same response fields for what concerns the session. */
type Response = MessageInitShape<typeof SubscribeResponseSchema> &
  MessageInitShape<typeof ConsumeResponseSchema>;

/** The session of one consumer stream, for `Subscribe` and `Consume`. */
export class ConsumerStream<O extends typeof SubscribeResponseSchema | typeof ConsumeResponseSchema>
  implements ConsumerSink
{
  readonly #call: Call<O>;
  readonly #services: HandlerServices;
  readonly #response: O;
  readonly #runsTag: number;
  readonly #fail: (error: SluiceError) => void;
  #state: State = { kind: 'idle' };
  #isHeartbeatUnderWay = false;
  #assignmentsUnderWay = 0;
  /** The latest assignment, if too many are under way. */
  #heldAssignment: readonly number[] | undefined;

  /** `fail`: ends the call after the broker has ended the session. */
  constructor(
    call: Call<O>,
    services: HandlerServices,
    response: O,
    runsTag: number,
    fail: (error: SluiceError) => void,
  ) {
    this.#call = call;
    this.#services = services;
    this.#response = response;
    this.#runsTag = runsTag;
    this.#fail = fail;
  }

  /** Undefined until the session is open, and after it has closed. */
  get session(): ConsumerSession | undefined {
    return this.#state.kind === 'open' ? this.#state.session : undefined;
  }

  /** Opens the session and announces it. Calls `opened` when deliveries may begin. */
  open(options: ConsumeOptions, opened: (session: ConsumerSession) => void): void {
    this.#state = { kind: 'opening' };
    this.#services.broker
      .subscribe(options, this)
      .then((session) => {
        if (this.#state.kind !== 'opening') {
          // The client left, or the server drains: the session ends at once.
          session.close('left');
          return;
        }
        this.#state = { kind: 'open', session };
        this.send({ opened: fromSession(session) });
        session.start();
        opened(session);
      })
      .catch((thrown) => this.#call.fail(thrown));
  }

  /** Frees the messages that the session holds. May be called twice. */
  close(end: SessionEnd): void {
    const { session } = this;
    this.#state = { kind: 'closed' };
    session?.close(end);
  }

  /** The call has ended. If the broker ended it, no delivery has failed, whatever the reason. */
  over(end: CallEnd): void {
    this.close(sessionEnds[end]);
  }

  /** `written`: see `DirectCall.send`. Until then the response counts as owed. */
  send(response: Response, written?: () => void): void {
    const schema: DescMessage = this.#response;
    const message = create(schema, response as MessageInitShape<DescMessage>);
    this.#call.sendOwed(toBinary(schema, message), written);
  }

  deliver(runs: readonly DeliveredRun[], written: () => void): void {
    sendRuns(this.#call, this.#services.frameMemory, this.#runsTag, runs, written);
  }

  /** A consumer that does not read gets only the latest assignment: they must not pile up. */
  assigned(partitions: readonly number[]): void {
    if (this.#assignmentsUnderWay >= limits.assignmentsUnderWay) {
      this.#heldAssignment = partitions;
      return;
    }
    this.#assignmentsUnderWay++;
    this.send({ assignment: { partitions: [...partitions] } }, this.#assignmentLeft);
  }

  readonly #assignmentLeft = (): void => {
    this.#assignmentsUnderWay--;
    const held = this.#heldAssignment;
    this.#heldAssignment = undefined;
    if (held !== undefined) this.assigned(held);
  };

  revoked(offsets: readonly PartitionInterval[]): void {
    this.send({ revoked: offsets.map(toRange) });
  }

  /** At most one waits for a consumer that does not read: they must not pile up. */
  heartbeat(timeMs: number, backlogMessageCount: number): void {
    if (this.#isHeartbeatUnderWay) return;
    this.#isHeartbeatUnderWay = true;
    this.send({ heartbeat: fromHeartbeat(timeMs, backlogMessageCount) }, () => {
      this.#isHeartbeatUnderWay = false;
    });
  }

  ended(error: SluiceError): void {
    this.#state = { kind: 'closed' };
    this.#fail(error);
  }
}
