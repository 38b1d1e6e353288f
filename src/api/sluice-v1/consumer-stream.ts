import { create, type DescMessage, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { ConsumeOptions, ConsumerSession, ConsumerSink, DeliveredRun } from '../../broker/types.js';
import type { PartitionInterval, SessionEnd } from '../../core/types.js';
import type { ConsumeResponseSchema, SubscribeResponseSchema } from '../../gen/sluice/v1/broker_pb.js';
import type { CallEnd, DirectCall } from '../../transport/grpc/direct-call.js';
import { fromHeartbeat, fromSession } from './convert-session.js';
import type { Edge } from './edge.js';
import { sendRuns } from './frames.js';
import { toRange } from './receipts.js';

/** How far a consumer's session has come. It only ever moves down this list. */
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

/** The responses of both methods have the same fields for what the session itself says. */
type Response = MessageInitShape<typeof SubscribeResponseSchema> &
  MessageInitShape<typeof ConsumeResponseSchema>;

/** The session of one consumer stream: `Subscribe` and `Consume` have it in common. */
export class ConsumerStream implements ConsumerSink {
  readonly #call: DirectCall;
  readonly #edge: Edge;
  readonly #response: DescMessage;
  readonly #runsTag: number;
  #state: State = { kind: 'idle' };
  #isHeartbeatUnderWay = false;
  #assignmentsUnderWay = 0;
  /** The latest one, where too many are under way. */
  #heldAssignment: readonly number[] | undefined;

  constructor(call: DirectCall, edge: Edge, response: DescMessage, runsTag: number) {
    this.#call = call;
    this.#edge = edge;
    this.#response = response;
    this.#runsTag = runsTag;
  }

  /** Undefined until the session is open, and after it has closed. */
  get session(): ConsumerSession | undefined {
    return this.#state.kind === 'open' ? this.#state.session : undefined;
  }

  /** Opens the session and announces it; `opened` is called once deliveries may begin. */
  open(options: ConsumeOptions, opened: (session: ConsumerSession) => void): void {
    this.#state = { kind: 'opening' };
    this.#edge.broker
      .subscribe(options, this)
      .then((session) => {
        if (this.#state.kind !== 'opening') {
          // The client left, or the server drains: what it would have held is free at once.
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

  /** Frees what the session holds. Harmless twice. */
  close(end: SessionEnd): void {
    const { session } = this;
    this.#state = { kind: 'closed' };
    session?.close(end);
  }

  /** The call is over. Where the broker ended it, whatever the reason, nothing of what was delivered has failed. */
  over(end: CallEnd): void {
    this.close(sessionEnds[end]);
  }

  /** `written` as in `DirectCall.send`; until then it counts as owed. */
  send(response: Response, written?: () => void): void {
    const message = create(this.#response, response as MessageInitShape<DescMessage>);
    this.#call.sendOwed(Buffer.from(toBinary(this.#response, message)), written);
  }

  deliver(runs: readonly DeliveredRun[], written: () => void): void {
    sendRuns(this.#call, this.#edge.frameMemory, this.#runsTag, runs, written);
  }

  /** To a consumer that does not read, only the latest of many matters: they must not pile up. */
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

  /** To a consumer that does not read, one is enough: they must not pile up. */
  heartbeat(timeMs: number, backlogMessageCount: number): void {
    if (this.#isHeartbeatUnderWay) return;
    this.#isHeartbeatUnderWay = true;
    this.send({ heartbeat: fromHeartbeat(timeMs, backlogMessageCount) }, () => {
      this.#isHeartbeatUnderWay = false;
    });
  }

  ended(error: SluiceError): void {
    this.#state = { kind: 'closed' };
    this.#call.fail(error);
  }
}
