import type { RoundBlock } from './round.js';

/**
 * The log of rounds: where a round becomes committed. The store appends rounds in order, and shows and answers a round
 * only when it is both written and committed:
 *
 *     append(n) ─┬─→ written      the round is in the database of this process, and its block is back
 *                ├─→ committed    the log has stored the round for good: no failure takes it back
 *                └─→ ended        the log stores nothing more. Nothing that was not committed before is answered
 *
 *     written and committed ──→ readers see the round ──→ `onCommitted`, receipts
 *
 * Rules for every implementation (test/contract/round-log.ts checks them):
 *
 *     Positions have no gaps. A position has at most one round, and a round has it as a whole or not at all.
 *     A round is committed only when every round before it is committed.
 *     An epoch is fenced for ever once a later epoch has begun: a round that is appended in it is never committed.
 *     An answer that is lost on its way is resolved inside the log: if the round of the position is the one that was
 *     appended, it is committed; if it is another one, the log is fenced.
 *     A log that can be fenced writes a round to the database only after the round is committed: the database never
 *     has to give up a round.
 *
 * Reading and trimming are not part of this interface. The local log can't offer them: its database holds the effects
 * of the rounds, and no round is kept. A log of several copies keeps the rounds that a copy has not applied yet, and
 * trims them: it adds `read(from)` and `trim(below)` to its own interface.
 */
export interface RoundLog {
  /** The store reads it once, before the first `append`. */
  readonly state: RoundLogState;
  /** Sets the listener. Called once, in the turn of the event loop in which the log was started. */
  listen(listener: RoundLogListener): void;
  /**
   * Appends a round. The position is the one behind the last append. The log owns the block until it returns it by
   * `written`. The caller does not wait for an answer before the next append. Without effect after `ended`.
   */
  append(position: number, epoch: number, round: AppendedRound): void;
  /** The caller appends nothing more. Resolves when everything that was appended is answered, or the log has ended. */
  close(): Promise<void>;
}

export interface RoundLogState {
  /** The epoch in which this process appends. A later epoch begins when another process takes over the log. */
  readonly epoch: number;
  /** The position of the next append. */
  readonly nextPosition: number;
}

/** None of the methods is called from within `append` or `listen`, and none after `ended`. */
export interface RoundLogListener {
  /** The oldest round that was not yet written is written. Returns its block. */
  written(block: ArrayBuffer): void;
  /** Every round up to this position is committed. The same position may come again, and positions may be left out. */
  committed(position: number): void;
  ended(end: RoundLogEnd): void;
}

export interface AppendedRound extends RoundBlock {
  /** False: no transaction of the round asks for more than the page cache. */
  readonly isSynced: boolean;
}

/** Why a log stores nothing more. Rounds without an answer may or may not be committed. */
export type RoundLogEnd =
  /** Another process has taken over the log. It has refused at least one round, and no later one is stored. */
  | { readonly kind: 'fenced' }
  /** A write failed. The message is that of the database or the system. */
  | { readonly kind: 'failed'; readonly message: string }
  /** The database is damaged: it accepts no more writes, not even after a restart. */
  | { readonly kind: 'damaged'; readonly message: string };
