import assert from 'node:assert/strict';
import { SluiceError } from '../../../../src/base/errors.js';
import { emptyExtent } from '../../../../src/storage/codec/extent.js';
import { checkReadable, dataLoss, readFailed } from '../../../../src/storage/log/log-errors.js';
import { PartitionLog } from '../../../../src/storage/log/partition-log.js';
import { engineError } from './memory-engine.js';

function logFrom(firstOffset: number): PartitionLog {
  return new PartitionLog(7, 2, { ...emptyExtent, firstOffset, endOffset: 20 });
}

function thrownBy(action: () => void): SluiceError {
  try {
    action();
  } catch (error) {
    assert(error instanceof SluiceError);
    return error;
  }
  return assert.fail('it threw nothing');
}

describe('errors of a log', () => {
  it('name the first offset that is kept, for an offset that was removed', () => {
    const log = logFrom(5);
    const error = thrownBy(() => checkReadable(log, 4));
    assert.equal(error.reason, 'OFFSET_OUT_OF_RANGE');
    assert.deepEqual(error.details.metadata, { firstOffset: '5' });
    assert.equal(error.message, 'offset 4 of partition 2 was removed: the first that is kept is 5');
    for (const offset of [5, 6, 20, 21]) checkReadable(log, offset);
  });

  it('say that the topic was deleted, whatever the offset', () => {
    const log = logFrom(5);
    log.isDeleted = true;
    for (const offset of [0, 5, 30]) {
      const error = thrownBy(() => checkReadable(log, offset));
      assert.deepEqual([error.reason, error.message], ['TOPIC_DELETED', 'topic 7 was deleted']);
    }
  });

  it('name the offsets that are lost', () => {
    const error = dataLoss(logFrom(0), 3, 8, 'it broke');
    assert.equal(error.reason, 'DATA_LOSS');
    assert.equal(error.message, 'topic 7, partition 2, offsets 3 to 8: it broke');
    assert.deepEqual(error.details.metadata, {
      topicId: '7',
      partition: '2',
      firstOffset: '3',
      lastOffset: '8',
    });
  });

  it('name the offset where the disk failed, and keep its error', () => {
    const cause = engineError('LEVEL_IO_ERROR', 'no such sector');
    const error = readFailed(logFrom(0), 3, cause);
    assert.equal(error.reason, 'READ_FAILED');
    assert.match(error.message, /^topic 7, partition 2, offset 3: .*no such sector/);
    assert.deepEqual(error.details.metadata, { topicId: '7', partition: '2', firstOffset: '3' });
    assert.equal(error.cause, cause);
  });
});
