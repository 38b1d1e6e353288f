import assert from 'node:assert/strict';
import { Ledger, type Observed, type ViolationKind } from './ledger.js';

/** Each check must bite, or the fault tests prove nothing. */
describe('ledger', () => {
  let ledger: Ledger;

  beforeEach(() => {
    ledger = new Ledger();
    ledger.sent('a', 3);
    ledger.receipted('a', 3);
  });

  const at = (offset: number, sequence: number, partition = 0): Observed => ({
    partition,
    offset,
    identity: { producer: 'a', sequence },
  });
  const threeInOrder = [at(0, 1), at(1, 2), at(2, 3)];

  function deliver(messages: readonly Observed[], session = 's'): void {
    for (const message of messages) ledger.delivered(session, message);
  }

  function assertFinds(kind: ViolationKind, text: RegExp): void {
    const texts = ledger.violations.map((violation) => violation.text);
    assert.ok(
      ledger.violations.some((violation) => violation.kind === kind && text.test(violation.text)),
      `no violation ${kind} ${text} among ${JSON.stringify(texts)}`,
    );
  }

  it('finds nothing where all is well', () => {
    deliver(threeInOrder.slice(0, 2));
    ledger.settled(0, 0, 0);
    ledger.resumed('a', 3);
    deliver(threeInOrder.slice(1), 'after the restart');
    ledger.settled(0, 1, 2);
    assert.deepEqual(ledger.close(threeInOrder), []);
    assert.equal(ledger.receiptedCount, 3);
    assert.equal(ledger.settledCount, 3);
  });

  it('lets what had no receipt be missing', () => {
    ledger.sent('a', 5);
    deliver(threeInOrder);
    assert.deepEqual(ledger.close(threeInOrder), []);
  });

  it('lets what had no receipt be stored', () => {
    ledger.sent('a', 4);
    const four = [...threeInOrder, at(3, 4)];
    deliver(four);
    assert.deepEqual(ledger.close(four), []);
  });

  it('finds a message that was receipted and is lost', () => {
    deliver(threeInOrder.slice(0, 2));
    ledger.close(threeInOrder.slice(0, 2));
    assertFinds('lost', /a#3 was receipted/);
  });

  it('finds a message that is stored twice', () => {
    const doubled = [...threeInOrder, at(3, 3)];
    deliver(doubled);
    ledger.close(doubled);
    assertFinds('doubled', /a#3 at 0@2 and 0@3/);
  });

  it('finds a message that is stored twice in different partitions', () => {
    const doubled = [...threeInOrder, at(0, 3, 1)];
    deliver(doubled);
    ledger.close(doubled);
    assertFinds('doubled', /a#3 at 0@2 and 1@0/);
  });

  it('finds messages that are stored in the wrong order', () => {
    const swapped = [at(0, 1), at(1, 3), at(2, 2)];
    deliver(swapped);
    ledger.close(swapped);
    assertFinds('misordered', /0@2: a#2 behind a#3/);
  });

  it('keeps no order between partitions', () => {
    const spread = [at(0, 3), at(0, 1, 1), at(1, 2, 1)];
    deliver(spread);
    assert.deepEqual(ledger.close(spread), []);
  });

  it('finds a message that is stored although one before it is not', () => {
    ledger.sent('a', 5);
    const holed = [...threeInOrder, at(3, 5)];
    deliver(holed);
    ledger.close(holed);
    assertFinds('hole', /a#5 is stored, a#4 is not/);
  });

  it('finds a message that is delivered after its acknowledgement was answered', () => {
    deliver(threeInOrder);
    ledger.settled(0, 1, 1);
    deliver(threeInOrder.slice(1), 'after the restart');
    assertFinds('resettled', /0@1 to session after the restart: a#2/);
    assert.equal(ledger.violations.length, 1, 'only what was settled');
  });

  it('finds a message that was never sent', () => {
    deliver([at(0, 7)]);
    assertFinds('invented', /0@0: a#7, sent was up to 3/);
  });

  it('finds a message with altered bytes', () => {
    deliver([{ partition: 0, offset: 0, identity: undefined }]);
    assertFinds('invented', /0@0: bytes that were never sent/);
  });

  it('finds a receipt for what was not sent', () => {
    ledger.receipted('a', 4);
    assertFinds('invented', /a: a receipt for 4, sent was 3/);
  });

  it('finds an offset that was given to two messages', () => {
    deliver([at(0, 1)]);
    deliver([at(0, 2)], 'after the restart');
    assertFinds('changed', /a#2, it was a#1/);
  });

  it('finds an offset where another message is stored than was delivered', () => {
    deliver([at(0, 1), at(1, 3), at(2, 2)]);
    ledger.close(threeInOrder);
    assertFinds('changed', /0@1: a#2 is stored, a#3 was delivered/);
  });

  it('finds a message that was delivered and is not stored', () => {
    deliver(threeInOrder);
    ledger.close(threeInOrder.slice(0, 2));
    assertFinds('changed', /0@2: a#3 was delivered and is not stored/);
  });

  it('finds offsets that are missing', () => {
    const gap = [at(0, 1), at(2, 2), at(3, 3)];
    ledger.close(gap);
    assertFinds('gap', /0@2: expected offset 1/);
  });

  it('finds a message that was overtaken', () => {
    deliver([at(0, 1), at(2, 3)]);
    assertFinds('overtaken', /0@2 to session s: 1 was not delivered before/);
  });

  it('finds a session that is given messages backwards', () => {
    deliver([at(0, 1), at(1, 2), at(0, 1)]);
    assertFinds('overtaken', /0@0 to session s: after 1/);
  });

  it('finds a message that was never delivered', () => {
    deliver(threeInOrder.slice(0, 2));
    ledger.close(threeInOrder);
    assertFinds('undelivered', /0@2: a#3/);
  });

  it('finds a producer that the broker has forgotten', () => {
    ledger.resumed('a', 2);
    assertFinds('forgotten', /a: 3 was receipted, the broker knows 2/);
  });

  it('takes what the broker knows of a producer for a receipt', () => {
    ledger.sent('a', 4);
    ledger.resumed('a', 4);
    deliver(threeInOrder);
    ledger.close(threeInOrder);
    assertFinds('lost', /a#4 was receipted/);
  });
});
