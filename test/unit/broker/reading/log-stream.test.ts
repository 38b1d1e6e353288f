import assert from 'node:assert/strict';
import { SluiceError } from '../../../../src/base/errors.js';
import { InvariantError } from '../../../../src/base/invariant.js';
import { limits } from '../../../../src/base/limits.js';
import { FramePool, type FramesUnderWay } from '../../../../src/broker/frames/frame-pool.js';
import { LogStream, type LogStreamOptions } from '../../../../src/broker/reading/log-stream.js';
import type { Topic, TopicFollower } from '../../../../src/broker/topics/topic.js';
import type { Storage, StoredRun } from '../../../../src/storage/types.js';
import { nextUnhandled } from '../../../support/unhandled.js';

const messageBytes = 10;

function run(partition: number, firstOffset: number, count: number, targetSubscriptionId = 0): StoredRun {
  const ends = Uint32Array.from({ length: count }, (_, index) => (index + 1) * messageBytes);
  const messages = new Uint8Array(count * messageBytes);
  return {
    partition,
    firstOffset,
    count,
    publishTimeMs: 1,
    producerId: '',
    targetSubscriptionId,
    messages,
    ends,
  };
}

/** A stream over partitions with these runs, whose transport takes frames when the test says so. */
class Setup {
  /** `partition:from-to` of each delivered run, by frame. */
  readonly frames: string[][] = [];
  readonly ends: (SluiceError | undefined)[] = [];
  readonly closed: number[] = [];
  readonly reads: string[] = [];
  readonly followers = new Set<TopicFollower>();
  readonly pool = new FramePool(2 ** 20);
  readonly underWay: FramesUnderWay = this.pool.open();
  readonly #written: (() => void)[] = [];
  readonly stream: LogStream;
  /** Answers reads; otherwise each is answered with one run, from memory. */
  answer:
    | ((
        runs: readonly StoredRun[],
        partition: number,
      ) => readonly StoredRun[] | Promise<readonly StoredRun[]>)
    | undefined;

  readonly #topic = {
    topicId: 1,
    config: { partitionCount: 0 },
    firstOffset: () => 0,
    addFollower: (follower: TopicFollower) => this.followers.add(follower),
    removeFollower: (follower: TopicFollower) => this.followers.delete(follower),
  };

  constructor(partitions: readonly (readonly StoredRun[])[], options: Partial<LogStreamOptions> = {}) {
    this.#topic.config.partitionCount = partitions.length;
    const endOf = (partition: number): number => {
      const last = partitions[partition]!.at(-1);
      return last === undefined ? 0 : last.firstOffset + last.count;
    };
    const storage: Partial<Storage> = {
      extent: (_topicId, partition) => ({ firstOffset: 0, endOffset: endOf(partition), bytes: 0 }),
      openReader: (_topicId, partition) => ({
        read: (offset) => {
          this.reads.push(`${partition}:${offset}`);
          const runs = partitions[partition]!.filter(
            ({ firstOffset, count }) => firstOffset + count > offset,
          );
          return this.answer?.(runs, partition) ?? runs.slice(0, 1);
        },
        close: () => void this.closed.push(partition),
      }),
    };
    const sink = {
      deliver: (runs: readonly { run: StoredRun; from: number; to: number }[], written: () => void) => {
        this.frames.push(
          runs.map(
            ({ run: { partition, firstOffset }, from, to }) =>
              `${partition}:${firstOffset + from}-${firstOffset + to}`,
          ),
        );
        this.#written.push(written);
      },
      ended: (error: SluiceError | undefined) => void this.ends.push(error),
    };
    this.stream = new LogStream(storage as Storage, this.#topic as unknown as Topic, sink, {
      partition: undefined,
      starts: new Map(partitions.map((_, partition) => [partition, 0])),
      limit: 0,
      isFollowing: false,
      frames: this.underWay,
      ...options,
    });
  }

  /** The transport takes the oldest frame. */
  take(): void {
    this.#written.shift()!();
  }
}

function started(...[partitions, options]: ConstructorParameters<typeof Setup>): Setup {
  const setup = new Setup(partitions, options);
  setup.stream.start();
  return setup;
}

describe('a stream that reads the log', () => {
  it('has at most two frames at the transport, goes on with each that leaves, and ends', () => {
    const setup = started([[run(0, 0, 2), run(0, 2, 1), run(0, 3, 3)]]);
    assert.deepEqual(setup.frames, [['0:0-2'], ['0:2-3']]);
    assert.deepEqual(setup.ends, []);
    assert.equal(setup.pool.bytesUnderWay, 3 * messageBytes);
    setup.take();
    assert.deepEqual(setup.frames.slice(2), [['0:3-6']]);
    assert.deepEqual(setup.ends, []);
    setup.take();
    assert.deepEqual(setup.ends, [undefined]);
    assert.deepEqual(setup.closed, [0]);
    assert.equal(setup.followers.size, 0);
  });

  it('ends at once where there is nothing to read', () => {
    assert.deepEqual(started([[]]).ends, [undefined]);
    const following = started([[]], { isFollowing: true });
    assert.deepEqual(following.ends, []);
    assert.equal(following.followers.size, 1);
  });

  it('lets partitions take turns', () => {
    const setup = started([[run(0, 0, 1), run(0, 1, 1)], [run(1, 0, 1), run(1, 1, 1)], [run(2, 0, 1)]]);
    for (let i = 0; i < 4; i += 1) setup.take();
    assert.deepEqual(setup.frames.flat(), ['0:0-1', '1:0-1', '2:0-1', '0:1-2', '1:1-2']);
  });

  it('starts within a run, and stops at its limit', () => {
    const setup = started([[run(0, 0, 4), run(0, 4, 4)]], { starts: new Map([[0, 3]]), limit: 3 });
    assert.deepEqual(setup.frames, [['0:3-4'], ['0:4-6']]);
    assert.equal(setup.pool.bytesUnderWay, 3 * messageBytes);
    setup.take();
    assert.deepEqual(setup.ends, [undefined], 'without another read');
    assert.deepEqual(setup.reads, ['0:3', '0:4']);
  });

  it('delivers nothing of a run behind its limit', () => {
    const setup = new Setup([[run(0, 0, 2), run(0, 2, 1)]], { limit: 2 });
    setup.answer = (runs) => runs;
    setup.stream.start();
    assert.deepEqual(setup.frames, [['0:0-2']]);
    assert.deepEqual(setup.ends, [undefined]);
  });

  it('ends at its limit also where it follows', () => {
    const setup = started([[run(0, 0, 4)]], { limit: 2, isFollowing: true });
    assert.deepEqual(setup.frames, [['0:0-2']]);
    assert.deepEqual(setup.ends, [undefined]);
  });

  it('delivers no more than its limit where two partitions are answered late', async () => {
    const setup = started([[], []], { isFollowing: true, limit: 2 });
    setup.answer = async (_runs, partition) => [run(partition, 0, 2)];
    setup.stream.grown(0, 2);
    setup.stream.grown(1, 2);
    assert.deepEqual(setup.reads, ['0:0', '1:0']);
    await new Promise(setImmediate);
    assert.deepEqual(setup.frames, [['0:0-2']]);
    assert.deepEqual(setup.ends, [undefined]);
  });

  it('skips messages that were redriven to one subscription, which do not count for the limit', () => {
    const setup = new Setup([[run(0, 0, 5, 9), run(0, 5, 1), run(0, 6, 2)]], { limit: 2 });
    setup.answer = (runs) => runs;
    setup.stream.start();
    assert.deepEqual(setup.frames, [['0:5-6', '0:6-7']]);
    assert.deepEqual(setup.ends, [undefined]);
  });

  it('goes on behind a read that has only messages for one subscription', () => {
    const setup = started([[run(0, 0, 5, 9), run(0, 5, 1)]]);
    assert.deepEqual(setup.frames, [['0:5-6']]);
    assert.deepEqual(setup.ends, [undefined]);
  });

  it('delivers up to the offsets that were committed when it began, or follows', () => {
    const setup = started([[run(0, 0, 2)]]);
    assert.deepEqual(setup.ends, [undefined]);
    const following = started([[run(0, 0, 2)]], { isFollowing: true, partition: 0 });
    assert.deepEqual(following.frames, [['0:0-2']]);
    following.answer = () => [run(0, 2, 3)];
    following.stream.grown(7, 5);
    assert.deepEqual(following.reads, ['0:0'], 'another partition');
    following.stream.grown(0, 4);
    assert.deepEqual(following.frames[1], ['0:2-4'], 'what is committed, not what the read brings');
    assert.deepEqual(following.ends, []);
  });

  it('reads partitions that are added later from their beginning, if it reads all', () => {
    const partitions: StoredRun[][] = [[run(0, 0, 1)]];
    const setup = started(partitions, { isFollowing: true });
    setup.take();
    partitions.push([run(1, 0, 2)]);
    setup.stream.grown(1, 2);
    assert.deepEqual(setup.frames, [['0:0-1'], ['1:0-2']]);
    setup.stream.close();
    assert.deepEqual(setup.closed, [0, 1]);
  });

  it('reads partitions that were added while its position was looked up', () => {
    const partitions = [[run(0, 0, 1), run(0, 1, 1)], [run(1, 0, 1)]];
    assert.deepEqual(started(partitions, { starts: new Map([[0, 1]]) }).frames, [['0:1-2'], ['1:0-1']]);
    const one = started(partitions, { starts: new Map([[0, 1]]), partition: 0 });
    assert.deepEqual(one.frames, [['0:1-2']]);
  });

  it('does not follow growth where it is to end', () => {
    const setup = started([[run(0, 0, 1), run(0, 1, 1), run(0, 2, 1)]]);
    setup.stream.grown(0, 9);
    setup.take();
    setup.take();
    assert.deepEqual(setup.frames.flat(), ['0:0-1', '0:1-2', '0:2-3']);
    assert.deepEqual(setup.ends, [undefined]);
  });

  it('cuts a run that is too large for a frame', () => {
    const count = Math.ceil((5 * limits.smallestFrameBytes) / messageBytes);
    const setup = started([[run(0, 0, count)]]);
    const fitting = Math.floor(limits.smallestFrameBytes / messageBytes);
    assert.deepEqual(setup.frames, [[`0:0-${fitting}`], [`0:${fitting}-${2 * fitting}`]]);
    assert.equal(setup.pool.bytesUnderWay, 2 * fitting * messageBytes);
  });

  it('reads a partition once at a time, and goes on when the disk answers', async () => {
    const setup = started([[]], { isFollowing: true });
    let answers = 0;
    setup.answer = async () => [run(0, answers++, 1)];
    setup.stream.grown(0, 3);
    assert.deepEqual(setup.reads, ['0:0']);
    await new Promise(setImmediate);
    assert.deepEqual(setup.frames, [['0:0-1'], ['0:1-2']]);
    setup.take();
    await new Promise(setImmediate);
    assert.deepEqual(setup.frames.at(-1), ['0:2-3']);
    assert.deepEqual(setup.ends, []);
  });

  it('ends with what a read fails with, once, and gives back what it holds', async () => {
    const setup = started([[]], { isFollowing: true });
    const damage = new SluiceError('DATA_LOSS', 'damaged');
    setup.answer = () => Promise.reject(damage);
    setup.stream.grown(0, 1);
    await new Promise(setImmediate);
    assert.deepEqual(setup.ends, [damage]);
    assert.deepEqual(setup.closed, [0]);
    setup.stream.topicEnded(new SluiceError('TOPIC_DELETED', 'gone'));
    setup.stream.close();
    assert.equal(setup.ends.length, 1);
    assert.deepEqual(setup.closed, [0]);
  });

  it('ends with its topic, and delivers nothing of a read under way', async () => {
    const setup = started([[run(0, 0, 1)]], { isFollowing: true });
    assert.equal(setup.pool.bytesUnderWay, messageBytes);
    setup.answer = async () => [run(0, 1, 1)];
    setup.stream.grown(0, 2);
    const deleted = new SluiceError('TOPIC_DELETED', 'gone');
    setup.stream.topicEnded(deleted);
    await new Promise(setImmediate);
    assert.deepEqual(setup.frames, [['0:0-1']]);
    assert.deepEqual(setup.ends, [deleted]);
    assert.equal(setup.pool.bytesUnderWay, 0);
    assert.equal(setup.followers.size, 0);
  });

  it('tells nothing after its client has closed it', () => {
    const setup = started([[run(0, 0, 1)]], { isFollowing: true });
    setup.stream.close();
    setup.stream.grown(0, 5);
    assert.deepEqual(setup.ends, []);
    assert.deepEqual(setup.reads, ['0:0']);
    assert.deepEqual(setup.closed, [0]);
  });

  it('takes an empty answer below the end for a defect', async () => {
    const setup = started([[]], { isFollowing: true });
    setup.answer = async () => [];
    const defect = await nextUnhandled(() => setup.stream.grown(0, 1));
    assert.ok(defect instanceof InvariantError);
  });
});
