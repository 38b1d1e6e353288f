import assert from 'node:assert/strict';
import fc from 'fast-check';
import { OffsetMap } from '../../../src/core/offset-map.js';

const offset = fc.integer({ min: 0, max: 300 });
const command = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('set' as const), first: offset, last: offset }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete' as const), first: offset, last: offset }) },
  // As the messages of a partition go: added at the end, removed at the front.
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('front' as const), first: offset, last: offset }) },
);

type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

/** An offset map, and beside it a plain map with the same content. */
class Subject {
  readonly #map = new OffsetMap<string>();
  readonly #reference = new Map<number, string>();

  run({ kind, first, last }: Command, i: number): void {
    if (kind === 'set') {
      for (let each = first; each <= Math.min(last, first + 40); each += 1) {
        this.#map.set(each, `${i}-${each}`);
        this.#reference.set(each, `${i}-${each}`);
      }
      return;
    }
    const from = kind === 'front' ? 0 : first;
    const gone = this.#ascending().filter((each) => each >= from && each <= last);
    assert.equal(this.#map.deleteRange(from, last), gone.length);
    for (const each of gone) this.#reference.delete(each);
  }

  check(at: number): void {
    assert.equal(this.#map.size, this.#reference.size);
    assert.equal(this.#map.get(at), this.#reference.get(at));
    assert.equal(this.#map.nextFrom(at), this.#ascending().find((each) => each >= at) ?? Infinity);
    assert.deepEqual(
      this.#map.map((each, value) => [each, value]),
      this.#ascending().map((each) => [each, this.#reference.get(each)]),
    );
  }

  clear(): void {
    this.#map.clear();
    assert.equal(this.#map.size, 0);
    assert.equal(this.#map.nextFrom(0), Infinity);
  }

  #ascending(): number[] {
    return [...this.#reference.keys()].sort((a, b) => a - b);
  }
}

describe('OffsetMap', () => {
  it('holds what a map of all offsets holds, in order', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 200 }), (commands) => {
        const subject = new Subject();
        for (const [i, each] of commands.entries()) {
          subject.run(each, i);
          subject.check(each.first);
        }
        subject.clear();
      }),
    );
  });
});
