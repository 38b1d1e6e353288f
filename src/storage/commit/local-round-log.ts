import { Worker } from 'node:worker_threads';
import { invariant } from '../../base/invariant.js';
import type { Engine } from '../engine/engine.js';
import type { AppendedRound, RoundLog, RoundLogEnd, RoundLogListener, RoundLogState } from './round-log.js';
import type { FromWriterThread, ToWriterThread, WriterThreadData } from './writer-protocol.js';

export type LocalLogFiles = Omit<WriterThreadData, 'handle' | 'columnNames'>;

/** The lock of the database admits one process: no later epoch begins. */
const localEpoch = 1;

/**
 * The log of a single broker: the writer thread writes each round to the database, and syncs it if the round asks for
 * that. A round is committed as soon as it is written. The position of a round is its number in the note of the last
 * round.
 */
export class LocalRoundLog implements RoundLog {
  readonly #worker: Worker;
  #listener: RoundLogListener | undefined;
  readonly #exited: Promise<void>;
  #committedPosition: number;
  #appendedPosition: number;
  #phase: 'open' | 'closing' | 'ended' = 'open';

  private constructor(worker: Worker, lastPosition: number) {
    this.#worker = worker;
    this.#committedPosition = lastPosition;
    this.#appendedPosition = lastPosition;
    worker.on('message', (message: FromWriterThread) => this.#receive(message));
    worker.on('error', (error) => this.#end({ kind: 'failed', message: String(error) }));
    this.#exited = new Promise((resolve) => {
      worker.on('exit', (code) => {
        if (this.#phase === 'open') {
          this.#end({ kind: 'failed', message: `the writer thread ended with code ${code}` });
        }
        resolve();
      });
    });
  }

  /** Starts the writer thread on an open database. */
  static async start(engine: Engine, files: LocalLogFiles): Promise<LocalRoundLog> {
    const workerData: WriterThreadData = {
      handle: engine.handle,
      columnNames: engine.columnNames,
      ...files,
    };
    const worker = new Worker(new URL('./writer-thread.js', import.meta.url), { workerData });
    await new Promise<void>((resolve, reject) => {
      const exited = (code: number): void => reject(new Error(`the writer thread ended with code ${code}`));
      worker.once('error', reject);
      worker.once('exit', exited);
      worker.once('message', () => {
        worker.off('error', reject);
        worker.off('exit', exited);
        resolve();
      });
    });
    return new LocalRoundLog(worker, files.note.round);
  }

  get state(): RoundLogState {
    return { epoch: localEpoch, nextPosition: this.#appendedPosition + 1 };
  }

  listen(listener: RoundLogListener): void {
    this.#listener = listener;
  }

  /** Transfers the block to the thread: it is unusable here until `written` returns it. */
  append(position: number, epoch: number, { block, usedBytes, isSynced }: AppendedRound): void {
    if (this.#phase === 'ended') return;
    if (epoch !== localEpoch) {
      queueMicrotask(() => this.#end({ kind: 'fenced' }));
      return;
    }
    invariant(position === this.#appendedPosition + 1, `round ${position} leaves a gap in the log`);
    this.#appendedPosition = position;
    this.#post({ kind: 'round', block, usedBytes, isSynced }, [block]);
  }

  async close(): Promise<void> {
    if (this.#phase === 'open') this.#phase = 'closing';
    this.#post({ kind: 'end' });
    await this.#exited;
  }

  #post(message: ToWriterThread, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  #receive(message: FromWriterThread): void {
    if (message.kind === 'written') this.#written(message.block);
    else if (message.kind === 'failed') {
      this.#end({ kind: message.isDamage ? 'damaged' : 'failed', message: message.message });
    }
  }

  #written(block: ArrayBuffer): void {
    if (this.#phase === 'ended') return;
    this.#committedPosition++;
    this.#listener?.committed(this.#committedPosition);
    this.#listener?.written(block);
  }

  #end(end: RoundLogEnd): void {
    if (this.#phase === 'ended') return;
    this.#phase = 'ended';
    this.#listener?.ended(end);
  }
}
