import type { CallContext } from '../../base/call-context.js';
import { SluiceError } from '../../base/errors.js';
import type { Guard, GuardedMethod, RequestFacts } from './guard.js';

const callFacts: RequestFacts = { kind: 'call' };

/** The guards of a server, in the order in which they are asked. */
export class GuardChain {
  readonly #all: readonly Guard[];
  readonly #ofRequests: readonly Guard[];

  constructor(guards: readonly Guard[]) {
    this.#all = guards;
    this.#ofRequests = guards.filter(({ checksRequests }) => checksRequests);
  }

  get checksCalls(): boolean {
    return this.#all.length > 0;
  }

  get checksRequests(): boolean {
    return this.#ofRequests.length > 0;
  }

  /** Asks the guards about a call that begins. */
  callPassage(context: CallContext, method: GuardedMethod, outcome: PassageOutcome): Passage {
    return new Passage(this.#all, context, method, callFacts, outcome);
  }

  /** Asks the guards about a request. */
  requestPassage(
    context: CallContext,
    method: GuardedMethod,
    bytes: Uint8Array,
    outcome: PassageOutcome,
  ): Passage {
    return new Passage(this.#ofRequests, context, method, { kind: 'request', bytes }, outcome);
  }
}

/** Exactly one of the two is called, unless the passage is cancelled. */
export interface PassageOutcome {
  allowed(): void;
  refused(error: SluiceError): void;
}

/**
 * One call or request on its way through the guards:
 *
 *     begin -> guard 1 -> guard 2 -> ... -> allowed
 *                 |          |
 *                 |          +-> hold ... released: ask guard 2 again
 *                 +-> refused
 */
export class Passage {
  readonly #guards: readonly Guard[];
  readonly #context: CallContext;
  readonly #method: GuardedMethod;
  readonly #facts: RequestFacts;
  readonly #outcome: PassageOutcome;
  #next = 0;
  #isCancelled = false;
  #forget: (() => void) | undefined;

  constructor(
    guards: readonly Guard[],
    context: CallContext,
    method: GuardedMethod,
    facts: RequestFacts,
    outcome: PassageOutcome,
  ) {
    this.#guards = guards;
    this.#context = context;
    this.#method = method;
    this.#facts = facts;
    this.#outcome = outcome;
  }

  begin(): void {
    this.#advance();
  }

  /** The call is over: no outcome, and no guard keeps anything of it. Harmless twice. */
  cancel(): void {
    this.#isCancelled = true;
    const forget = this.#forget;
    this.#forget = undefined;
    forget?.();
  }

  readonly #advance = (): void => {
    this.#forget = undefined;
    if (this.#isCancelled) return;
    let refusal: SluiceError | undefined;
    try {
      refusal = this.#askGuards();
    } catch (thrown) {
      refusal = SluiceError.from(thrown);
    }
    if (refusal !== undefined) this.#outcome.refused(refusal);
    else if (this.#forget === undefined) this.#outcome.allowed();
  };

  /** Asks until a guard does not allow. A hold leaves `#forget`. */
  #askGuards(): SluiceError | undefined {
    for (; this.#next < this.#guards.length; this.#next++) {
      const verdict = this.#guards[this.#next]!.check(this.#context, this.#method, this.#facts);
      if (verdict.kind === 'refuse') return verdict.error;
      if (verdict.kind === 'hold') {
        this.#forget = verdict.until.whenReleased(this.#advance);
        return undefined;
      }
    }
    return undefined;
  }
}
