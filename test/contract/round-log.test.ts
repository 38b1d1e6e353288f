import { createRandom } from '../../src/base/random.js';
import type { RoundLog } from '../../src/storage/commit/round-log.js';
import { FakeRoundLog, RandomNetwork, SharedLog } from '../support/fake-round-log.js';
import { until } from '../support/until.js';
import { LogDatabase } from './log-database.js';
import { Answers, describeRoundLog, describeTakeover, type LogMember, type OpenedLog } from './round-log.js';

/** `before` puts another log before the local one. */
function openedLog(
  database: LogDatabase,
  before: (local: RoundLog) => RoundLog = (local) => local,
): OpenedLog {
  const log = before(database.log);
  const close = async () => {
    await log.close();
    await database.close();
  };
  return {
    log,
    contents: () => database.contents(),
    async reopen() {
      await close();
      return openedLog(await LogDatabase.open(database.directory), before);
    },
    async dispose() {
      await close();
      await database.remove();
    },
  };
}

describeRoundLog('the local log', async () => openedLog(await LogDatabase.create()));

describeRoundLog('a shared log whose network loses and delays', async () => {
  const shared = new SharedLog(1);
  const network = new RandomNetwork(createRandom(1));
  return openedLog(await LogDatabase.create(), (local) => new FakeRoundLog(shared, local, network));
});

/** A process whose local positions are those of the shared log. */
class Member implements LogMember {
  readonly #database: LogDatabase;
  readonly #shared: SharedLog;
  readonly #network: RandomNetwork;
  log: FakeRoundLog;

  constructor(database: LogDatabase, shared: SharedLog, network: RandomNetwork) {
    this.#database = database;
    this.#shared = shared;
    this.#network = network;
    this.log = this.#open();
  }

  async takeOver(): Promise<void> {
    await this.log.settled();
    this.#shared.takeOver();
    await this.#catchUp();
    this.log = this.#open();
  }

  contents(): Promise<Record<string, string>> {
    return this.#database.contents();
  }

  async dispose(): Promise<void> {
    await this.log.close();
    await this.#database.close();
    await this.#database.remove();
  }

  #open(): FakeRoundLog {
    return new FakeRoundLog(this.#shared, this.#database.log, this.#network);
  }

  async #catchUp(): Promise<void> {
    const { log } = this.#database;
    const rounds = this.#shared.read(log.state.nextPosition);
    const answers = new Answers(log);
    for (const { position, bytes } of rounds) {
      const block = new Uint8Array(bytes).buffer;
      log.append(position, log.state.epoch, { block, usedBytes: block.byteLength, isSynced: false });
    }
    await until(() => answers.writtenBytes.length === rounds.length);
  }
}

describe('a log of rounds that processes share', () => {
  const random = createRandom(3);
  describeTakeover(
    'the fake log',
    async () => {
      const shared = new SharedLog(1);
      const network = new RandomNetwork(random);
      const databases = [await LogDatabase.create(), await LogDatabase.create()] as const;
      return [new Member(databases[0], shared, network), new Member(databases[1], shared, network)];
    },
    random,
  );
});
