import assert from 'node:assert/strict';
import { createCallContext } from '../../../src/transport/context.js';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const parentId = '00f067aa0ba902b7';

function traceOf(headers: Record<string, string | Buffer>) {
  const get = (name: string) => (headers[name] === undefined ? [] : [headers[name]]);
  return createCallContext('10.0.0.1:1', undefined, { get }).trace;
}

describe('the context of a call', () => {
  it('is anonymous, and has the peer and the deadline', () => {
    const context = createCallContext('10.0.0.1:1', 5, { get: () => [] });
    assert.deepEqual(context, {
      principal: { name: 'anonymous' },
      peer: '10.0.0.1:1',
      deadlineAtMs: 5,
      trace: undefined,
    });
  });

  it('has the trace of a traceparent header', () => {
    assert.deepEqual(traceOf({ traceparent: `00-${traceId}-${parentId}-01` }), {
      traceId,
      parentId,
      isSampled: true,
    });
    assert.equal(traceOf({ traceparent: `00-${traceId}-${parentId}-00` })?.isSampled, false);
    assert.equal(traceOf({ traceparent: `cc-${traceId}-${parentId}-01-later` })?.traceId, traceId);
  });

  it('has the trace of a grpc-trace-bin header', () => {
    const bytes = Buffer.from(`0000${traceId}01${parentId}0201`, 'hex');
    assert.deepEqual(traceOf({ 'grpc-trace-bin': bytes }), { traceId, parentId, isSampled: true });
    assert.equal(traceOf({ 'grpc-trace-bin': bytes.subarray(1) }), undefined);
    assert.equal(
      traceOf({ 'grpc-trace-bin': Buffer.from(`0000${'0'.repeat(32)}01${parentId}0201`, 'hex') }),
      undefined,
    );
  });

  it('ignores a trace that is not valid', () => {
    for (const traceparent of [
      '',
      'x',
      `00-${traceId}-${parentId}`,
      `00-${traceId}-${parentId}-01-more`,
      `ff-${traceId}-${parentId}-01`,
      `00-${traceId.toUpperCase()}-${parentId}-01`,
      `00-${'0'.repeat(32)}-${parentId}-01`,
      `00-${traceId}-${'0'.repeat(16)}-01`,
    ]) {
      assert.equal(traceOf({ traceparent }), undefined, traceparent);
    }
  });
});
