import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const src = resolve(fileURLToPath(import.meta.url), '../../../../src');

/**
 * What lets a `catch` stand: everything is thrown on, or what is a defect of the broker ends the process. `call.fail`
 * and `clientError` go through `SluiceError.from`, which does that.
 */
const mechanism = new RegExp(
  [
    String.raw`\bendOnDefect\b|\bSluiceError\.from\(|\bclientError\(|\.fail\(|\breadFailed\(`,
    String.raw`^\s*throw (?:thrown|error|failure|cause);`,
    // Takes the errors that it knows, and throws on whatever else there is.
    String.raw`\bif \(.*!.*\) throw \w+;`,
  ].join('|'),
  'm',
);

/** Every other catch: where it is, how many there are, and why a defect in what it spans can't become an answer. */
const exceptions: readonly { readonly file: string; readonly count: number; readonly why: string }[] = [
  {
    file: 'api/decode.ts',
    count: 1,
    why: 'spans fromBinary alone: what it throws is in the bytes',
  },
  {
    file: 'api/sluice-v1/publish.ts',
    count: 1,
    why: 'the failure goes to call.fail once what was submitted is answered',
  },
  {
    file: 'api/sluice-v1/publish-scan.ts',
    count: 2,
    why: 'adds the index and throws on; finding an id changes nothing',
  },
  { file: 'transport/http/admin-http.ts', count: 1, why: 'metrics and probes change nothing' },
  { file: 'config/load.ts', count: 1, why: 'reads a file before there is a broker' },
  {
    file: 'storage/commit/writer-thread.ts',
    count: 1,
    why: 'the main thread hears that the store failed, and ends',
  },
];

/** Opening the store: whatever fails there refuses the start, and there is no broker yet. */
const beforeTheStart = /^storage\/recovery\/(?:data-directory|marker|recovery|round-note)\.ts$/;

interface Catch {
  readonly file: string;
  readonly body: string;
}

function* filesBelow(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesBelow(path);
    else if (entry.name.endsWith('.ts')) yield path;
  }
}

/** From an opening bracket to the one that closes it. */
function bracketed(text: string, open: number): string {
  let depth = 0;
  for (let at = open; at < text.length; at++) {
    if ('({'.includes(text[at]!)) depth++;
    else if (')}'.includes(text[at]!) && --depth === 0) return text.slice(open, at + 1);
  }
  return text.slice(open);
}

/** Both kinds: `catch (error) { … }` and `promise.catch(…)`. */
function catchesOf(file: string, text: string): Catch[] {
  const blocks = [...text.matchAll(/\}\s*catch\s*(?:\(\w+\)\s*)?\{/g)].map((match) =>
    bracketed(text, match.index + match[0].length - 1),
  );
  const handlers = [...text.matchAll(/\.catch\(/g)].map((match) =>
    bracketed(text, match.index + match[0].length - 1),
  );
  return [...blocks, ...handlers].map((body) => ({ file, body }));
}

describe('every catch in src/', () => {
  // Commands other than `serve` are clients: they store nothing themselves.
  const isClient = (file: string) => file.startsWith('cli/');
  const all = [...filesBelow(src)]
    .map((path) => relative(src, path))
    .filter((file) => !file.startsWith('gen/') && !isClient(file) && !beforeTheStart.test(file))
    .flatMap((file) => catchesOf(file, readFileSync(join(src, file), 'utf8')));

  it('ends the process at a defect, or stands in the list of exceptions with a reason', () => {
    assert.ok(all.length > 30, 'the catches were not found');
    const counts = new Map<string, number>();
    for (const { file, body } of all) {
      if (!mechanism.test(body)) counts.set(file, (counts.get(file) ?? 0) + 1);
    }
    assert.deepEqual(
      Object.fromEntries([...counts].sort()),
      Object.fromEntries(exceptions.map(({ file, count }) => [file, count] as const).sort()),
    );
  });

  it('is told apart by this test', () => {
    const judge = (text: string) => catchesOf('x.ts', text).map(({ body }) => mechanism.test(body));
    assert.deepEqual(judge('try { a(); } catch (error) { log(error); }'), [false]);
    assert.deepEqual(judge('try { a(); } catch { }'), [false]);
    assert.deepEqual(judge('a().catch(() => {});'), [false]);
    assert.deepEqual(judge('try { a(); } catch (error) { end(SluiceError.from(error)); }'), [true]);
    assert.deepEqual(judge('a().catch(endOnDefect);'), [true]);
  });
});
