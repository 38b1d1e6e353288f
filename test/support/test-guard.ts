import type { CallContext } from '../../src/base/call-context.js';
import {
  allow,
  type Guard,
  type GuardedMethod,
  type Release,
  type RequestFacts,
  type Verdict,
} from '../../src/transport/guards/guard.js';
import { Inbox } from './inbox.js';

export interface Question {
  readonly context: CallContext;
  readonly method: GuardedMethod;
  readonly facts: RequestFacts;
}

/** Asks the test for its verdict. */
export class TestGuard implements Guard {
  readonly checksRequests: boolean;
  readonly questions = new Inbox<Question>();
  verdict: (question: Question) => Verdict;

  constructor(checksRequests: boolean, verdict: (question: Question) => Verdict) {
    this.checksRequests = checksRequests;
    this.verdict = verdict;
  }

  check(context: CallContext, method: GuardedMethod, facts: RequestFacts): Verdict {
    const question = { context, method, facts };
    this.questions.push(question);
    return this.verdict(question);
  }
}

/** A hold that the test ends. */
export class TestRelease implements Release {
  readonly #held = new Set<() => void>();
  /** One for each hold that was given up because its call ended. */
  readonly forgotten = new Inbox<true>();
  isReleased = false;

  get heldCount(): number {
    return this.#held.size;
  }

  /** Holds until `release`. */
  get verdict(): Verdict {
    return this.isReleased ? allow : { kind: 'hold', until: this };
  }

  whenReleased(resume: () => void): () => void {
    this.#held.add(resume);
    return () => {
      if (this.#held.delete(resume)) this.forgotten.push(true);
    };
  }

  release(): void {
    this.isReleased = true;
    const held = [...this.#held];
    this.#held.clear();
    for (const resume of held) resume();
  }
}
