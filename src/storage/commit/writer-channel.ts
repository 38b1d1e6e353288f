import { Worker } from 'node:worker_threads';
import type { Engine } from '../engine/engine.js';
import type { RoundBlock } from './round.js';
import type { FromWriterThread, ToWriterThread, WriterThreadData } from './writer-protocol.js';

export interface WriteFailure {
  /** The message of the database or the system. */
  readonly message: string;
  /** The database is damaged: it accepts no more writes, not even after a restart. */
  readonly isDamage: boolean;
}

export interface WriterChannelListener {
  /** The oldest round under way is on disk. Returns its block. */
  written(block: ArrayBuffer): void;
  /** The oldest round under way was not written, and nothing more will be. Called once. */
  failed(failure: WriteFailure): void;
}

/** The writer thread, as the main thread uses it. */
export class WriterChannel {
  readonly #worker: Worker;
  readonly #listener: WriterChannelListener;
  readonly #exited: Promise<void>;
  #state: 'open' | 'ending' | 'failed' = 'open';

  private constructor(worker: Worker, listener: WriterChannelListener) {
    this.#worker = worker;
    this.#listener = listener;
    worker.on('message', (message: FromWriterThread) => this.#receive(message));
    worker.on('error', (error) => this.#fail(String(error)));
    this.#exited = new Promise((resolve) => {
      worker.on('exit', (code) => {
        if (this.#state === 'open') this.#fail(`the writer thread ended with code ${code}`);
        resolve();
      });
    });
  }

  /** Starts the thread on an open database. */
  static async start(
    engine: Engine,
    files: Omit<WriterThreadData, 'handle' | 'columnNames'>,
    listener: WriterChannelListener,
  ): Promise<WriterChannel> {
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
    return new WriterChannel(worker, listener);
  }

  /** Transfers a round to the thread. The block is unusable here until `written` returns it. */
  send({ block, usedBytes }: RoundBlock, isSynced: boolean): void {
    this.#post({ kind: 'round', block, usedBytes, isSynced }, [block]);
  }

  /** Resolves when the thread has written everything and has ended. */
  async end(): Promise<void> {
    if (this.#state === 'open') this.#state = 'ending';
    this.#post({ kind: 'end' });
    await this.#exited;
  }

  #post(message: ToWriterThread, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  #receive(message: FromWriterThread): void {
    if (message.kind === 'written') this.#listener.written(message.block);
    else if (message.kind === 'failed') this.#fail(message.message, message.isDamage);
  }

  #fail(message: string, isDamage = false): void {
    if (this.#state === 'failed') return;
    this.#state = 'failed';
    this.#listener.failed({ message, isDamage });
  }
}
