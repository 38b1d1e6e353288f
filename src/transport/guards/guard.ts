import type { DescMethod } from '@bufbuild/protobuf';
import type { CallContext } from '../../base/call-context.js';
import type { SluiceError } from '../../base/errors.js';

/** The method of a call, as guards see it. */
export interface GuardedMethod {
  /** `/package.Service/Method`. */
  readonly path: string;
  /** Undefined for a method that is not part of the API: health, reflection. */
  readonly descriptor: DescMethod | undefined;
}

/** The question to a guard. */
export type RequestFacts =
  /** A call begins. None of its requests has been read. */
  | { readonly kind: 'call' }
  /** A request of a call was read, and its handler has not seen it. */
  | { readonly kind: 'request'; readonly bytes: Uint8Array };

/** The end of a hold. */
export interface Release {
  /**
   * Calls `resume` once when the hold ends, but never before this returns. The result forgets `resume`: it is called
   * if the call ends first, and nothing of the call may remain then.
   */
  whenReleased(resume: () => void): () => void;
}

export type Verdict =
  | { readonly kind: 'allow' }
  | { readonly kind: 'refuse'; readonly error: SluiceError }
  /** Nothing more is read until then; then the same guard is asked again. */
  | { readonly kind: 'hold'; readonly until: Release };

export const allow: Verdict = { kind: 'allow' };

/** Stands before the handlers: allows, refuses or holds calls and their requests. */
export interface Guard {
  /** The guard is asked about every request as well. This costs an object for each request. */
  readonly checksRequests: boolean;
  check(context: CallContext, method: GuardedMethod, facts: RequestFacts): Verdict;
}
