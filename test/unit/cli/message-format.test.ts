import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { MessageRunSchema } from '@sluice/client/api';
import fc from 'fast-check';
import { formatRun, messageFormat } from '../../../src/cli/consume/message-format.js';
import { ValueFault } from '../../../src/config/kinds.js';

function printed(format: string, payloads: readonly Uint8Array[], limit = Number.POSITIVE_INFINITY) {
  const run = create(MessageRunSchema, {
    partition: 3,
    firstOffset: 40n,
    attempt: 2,
    producerId: 'p',
    publishTime: timestampFromMs(Date.UTC(2026, 0, 2)),
    messages: payloads.map((payload) => ({ key: Buffer.from('k'), payload, headers: { trace: 't1' } })),
  });
  return formatRun(messageFormat.parse(format), 'orders', run, limit);
}

const binary = Uint8Array.of(0xff, 0x00, 0xfe);

describe('message format', () => {
  it('payload prints the bytes as they are', () => {
    const { text } = printed('payload', [binary, Buffer.from('b\r')]);
    assert.deepEqual([...text], [0xff, 0x00, 0xfe, 0x0a, 0x62, 0x0d, 0x0a]);
  });

  it('json prints one object a line, with base64 where the bytes are no UTF-8', () => {
    const lines = printed('json', [Buffer.from('é"\n'), binary])
      .text.toString()
      .trimEnd()
      .split('\n');
    assert.deepEqual(JSON.parse(lines[0]!), {
      topic: 'orders',
      partition: 3,
      offset: 40,
      publishTime: '2026-01-02T00:00:00.000Z',
      attempt: 2,
      producerId: 'p',
      key: 'k',
      payload: 'é"\n',
      headers: { trace: 't1' },
    });
    const second = JSON.parse(lines[1]!);
    assert.equal(second.offset, 41);
    assert.equal(second.payload, undefined);
    assert.deepEqual([...Buffer.from(second.payloadBase64, 'base64')], [...binary]);
  });

  it('json gives back every payload exactly, byte order marks and all', () => {
    const payload = fc.oneof(
      fc.uint8Array(),
      fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)),
      fc.constant(Buffer.from('\ufefftext')),
    );
    fc.assert(
      fc.property(payload, (bytes) => {
        const shown = JSON.parse(printed('json', [bytes]).text.toString());
        const back =
          shown.payload === undefined
            ? Buffer.from(shown.payloadBase64, 'base64')
            : Buffer.from(shown.payload);
        assert.deepEqual([...back], [...bytes]);
      }),
    );
  });

  it('fills in a template, with bytes that stay bytes', () => {
    const { text } = printed(
      '{topic}/{partition}:{offset}\\t{key} {payload} {header:trace}{header:none} \\x',
      [binary],
    );
    assert.equal(text.toString('latin1'), 'orders/3:40\tk \xff\0\xfe t1 \\x\n');
  });

  it('refuses a template with unknown fields or none, and with braces of no field, and says where', () => {
    assert.throws(() => printed('text', []), ValueFault);
    const wrong: [string, RegExp][] = [
      ['{pay}', /\{pay\} at character 1 does not/],
      ['é𝄞 {constructor}', /\{constructor\} at character 4 does not/],
      ['{header:}', /\{header:\} at character 1 does not/],
      ['{}', /\{\} at character 1 does not/],
      ['{payload', /the \{ at character 1 has no \} behind it; write \\\{ for/],
      ['{payload} {key', /the \{ at character 11 has no \} behind it/],
      ['{"key":{key}', /the \{ at character 1 has no/],
      ['{payload}}', /the \} at character 10 has no \{ before it; write \\\} for/],
    ];
    for (const [format, message] of wrong) {
      assert.throws(() => printed(format, []), { name: 'ValueFault', message }, format);
    }
  });

  it('prints braces that are escaped', () => {
    const { text } = printed('\\{"at":{offset},"in":\\{\\}\\}', [binary]);
    assert.equal(text.toString(), '{"at":40,"in":{}}\n');
  });

  it('stops at the limit', () => {
    const { count, text } = printed('{offset}', [binary, binary, binary], 2);
    assert.equal(count, 2);
    assert.equal(text.toString(), '40\n41\n');
  });
});
