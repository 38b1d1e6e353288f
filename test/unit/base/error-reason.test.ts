import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type Reason, reasons, StatusCode } from '../../../src/base/reasons.js';
import { ErrorReason } from '../../../src/gen/sluice/v1/error_reason_pb.js';
import { repositoryRoot } from '../../support/repository.js';

/** Said at start, on the command line: no client ever sees them. */
const atStartOnly: readonly Reason[] = [
  'INVALID_SETTING',
  'DATA_DIRECTORY_IN_USE',
  'DATA_DIRECTORY_FOREIGN',
  'DATA_DIRECTORY_NEWER',
  'DATA_DIRECTORY_UNUSABLE',
  'SYNCED_DATA_MISSING',
];

describe('ErrorReason of the API', () => {
  it('names every reason that the broker sends, and no other', () => {
    const published = Object.keys(ErrorReason).filter(
      (name) => Number.isNaN(Number(name)) && name !== 'UNSPECIFIED',
    );
    const sent = Object.keys(reasons).filter((reason) => !atStartOnly.includes(reason as Reason));
    assert.deepEqual(published.sort(), sent.sort());
  });

  it('tells the code of each', () => {
    const proto = readFileSync(`${repositoryRoot}proto/sluice/v1/error_reason.proto`, 'utf8');
    const documented = new Map(
      [...proto.matchAll(/\[([A-Z_]+)\]\n {2}ERROR_REASON_([A-Z_]+) =/g)].map(([, code, reason]) => [
        reason,
        code,
      ]),
    );
    for (const [reason, code] of Object.entries(reasons)) {
      if (atStartOnly.includes(reason as Reason)) continue;
      assert.equal(StatusCode[documented.get(reason) as keyof typeof StatusCode], code, reason);
    }
  });
});
