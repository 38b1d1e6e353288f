import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { reasons, StatusCode } from '../../src/base/reasons.js';
import { describeSettings } from '../../src/config/help.js';
import { repositoryRoot } from '../support/repository.js';

/** Reasons that only ever end a start: they are never sent. */
const startOnly = /^(INVALID_SETTING|DATA_DIRECTORY_.*|SYNCED_DATA_MISSING)$/;

describe('README.md', () => {
  const readme = readFileSync(join(repositoryRoot, 'README.md'), 'utf8');

  it('lists every setting with its default', () => {
    const listed = [...readme.matchAll(/^\| `--([\w-]+)` \| (.+?) \|/gm)].map(([, flag, text]) => [
      flag,
      text,
    ]);
    assert.deepEqual(
      listed,
      describeSettings().map(({ flag, fallbackText }) => [flag, fallbackText]),
    );
  });

  it('lists every reason under its code', () => {
    const listed = new Map<string, string>();
    for (const [, code, cell] of readme.matchAll(/^\| ([A-Z_]+) \| ((?:`[A-Z_]+` ?)+)\|/gm)) {
      for (const [, reason] of cell!.matchAll(/`([A-Z_]+)`/g)) listed.set(reason!, code!);
    }
    const codeNames = new Map(Object.entries(StatusCode).map(([name, code]) => [code, name]));
    for (const [reason, code] of Object.entries(reasons)) {
      if (startOnly.test(reason)) continue;
      assert.equal(listed.get(reason), codeNames.get(code), reason);
      listed.delete(reason);
    }
    assert.deepEqual([...listed.keys()], [], 'reasons that do not exist');
  });
});
