import assert from 'node:assert/strict';
import type { ChangeTarget } from '../../../../src/storage/codec/change-target.js';
import { type Change, type ChangeKind, writeChange } from '../../../../src/storage/codec/changes.js';
import { cursorsColumn, metadataColumn, producersColumn } from '../../../../src/storage/engine/columns.js';
import { append, subscriptionConfig, topicConfig } from '../../../integration/storage/harness.js';

/** Notes what the writers of changes do. */
class Target implements ChangeTarget {
  readonly steps: string[] = [];
  put(column: number): void {
    this.steps.push(`put ${column}`);
  }
  delete(column: number): void {
    this.steps.push(`delete ${column}`);
  }
  clear(column: number): void {
    this.steps.push(`clear ${column}`);
  }
  clearFirst(column: number): void {
    this.steps.push(`clear first ${column}`);
  }
  append(): void {
    this.steps.push('append');
  }
  cursor(): void {
    this.steps.push('cursor');
  }
  idUsed(): void {
    this.steps.push('id used');
  }
}

const place = { subscriptionId: 1, partition: 0 };
const cursor = { acknowledgedOffset: 0, settled: [], failed: [], deadLetterCount: 0 };

/** One change of each kind: a new kind does not compile until it is here. */
const samples: { readonly [K in ChangeKind]: readonly [Extract<Change, { kind: K }>, readonly string[]] } = {
  append: [append(1, 0, ['m']), ['append']],
  producer: [
    { kind: 'producer', topicId: 1, producerId: 'p', epoch: 1, lastSequence: 1, baseSequence: 0 },
    [`put ${producersColumn}`],
  ],
  cursor: [{ kind: 'cursor', ...place, state: () => cursor }, ['cursor']],
  'dead-letter': [{ kind: 'dead-letter', ...place, offset: 3, attempts: 5 }, [`put ${cursorsColumn}`]],
  'remove-dead-letters': [
    { kind: 'remove-dead-letters', ...place, first: 1, last: 2 },
    [`clear first ${cursorsColumn}`],
  ],
  redrive: [{ kind: 'redrive', ...place, deadLetterTopicId: 2, offset: 4 }, [`put ${cursorsColumn}`]],
  topic: [{ kind: 'topic', topicId: 1, config: topicConfig('t', 1) }, [`put ${metadataColumn}`, 'id used']],
  'delete-topic': [
    { kind: 'delete-topic', topicId: 1 },
    [`delete ${metadataColumn}`, `put ${metadataColumn}`, `clear ${producersColumn}`],
  ],
  subscription: [
    { kind: 'subscription', subscriptionId: 1, topicId: 1, config: subscriptionConfig('t', 's') },
    [`put ${metadataColumn}`, 'id used'],
  ],
  'delete-subscription': [
    { kind: 'delete-subscription', subscriptionId: 1 },
    [`delete ${metadataColumn}`, `put ${metadataColumn}`, `clear ${cursorsColumn}`],
  ],
};

describe('a change', () => {
  for (const [kind, [change, steps]] of Object.entries(samples)) {
    it(`of kind ${kind} writes its records`, () => {
      const target = new Target();
      writeChange(change, target);
      assert.deepEqual(target.steps, steps);
    });
  }
});
