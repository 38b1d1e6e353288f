import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { extname, join, relative } from 'node:path';
import { repositoryRoot } from '../support/repository.js';

/** Metaphors that had a meaning only in this code, and the field's terms that replaced them. */
const replacements: Readonly<Record<string, string>> = {
  bury: 'dead-letter',
  buried: 'dead-lettered',
  buries: 'dead-letters',
  burial: 'dead-letter request',
  burials: 'dead-letter requests',
  funeral: 'group of requests',
  heir: 'next owner',
  bequeath: 'hand over',
  crowd: 'many clients',
  richest: 'with the most credit',
  obstacle: 'admission gate',
  untold: 'unreported',
  lonely: 'single',
};

/** Words that leave open who acts: name the party. */
const unnamedParties = ['nobody', 'somebody', 'everybody', 'anybody', 'whoever', 'whomever'];

const roots = [
  'src',
  'test',
  'bench',
  'docs',
  'proto',
  'clients',
  'README.md',
  'ARCHITECTURE.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  'SECURITY.md',
];
const extensions = new Set(['.ts', '.proto', '.md', '.go', '.java', '.py']);
/** Lists the words. */
const ownName = 'words.test.ts';
/** Installed, built or generated. */
const skippedDirectories = /^(node_modules|dist|build|target|gen|sluicev1|\..+|__pycache__|venv)$/;
const skippedPaths = [join(repositoryRoot, 'clients/python/src/sluice/v1')];

const forbidden = new RegExp(
  `\\b(?:${[...Object.keys(replacements), ...unnamedParties].join('|')})\\b`,
  'gi',
);

function* filesBelow(path: string): Iterable<string> {
  if (extname(path) !== '') {
    if (extensions.has(extname(path))) yield path;
    return;
  }
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const child = join(path, entry.name);
    if (entry.isFile() && extensions.has(extname(child)) && entry.name !== ownName) yield child;
    const isSkipped = skippedDirectories.test(entry.name) || skippedPaths.includes(child);
    if (entry.isDirectory() && !isSkipped) yield* filesBelow(child);
  }
}

/** Each forbidden word of a text, with its line. */
function findForbidden(text: string): string[] {
  return text.split('\n').flatMap((line, index) =>
    Array.from(line.matchAll(forbidden), ([word]) => {
      const replacement = replacements[word.toLowerCase()];
      const advice = replacement === undefined ? 'name the party' : `say "${replacement}"`;
      return `${index + 1}: "${word}": ${advice}`;
    }),
  );
}

describe('the words of code and documentation', () => {
  it('are terms of the field, and name who acts', () => {
    const found: string[] = [];
    for (const root of roots) {
      for (const file of filesBelow(join(repositoryRoot, root))) {
        const name = relative(repositoryRoot, file);
        found.push(...findForbidden(readFileSync(file, 'utf8')).map((fault) => `${name}:${fault}`));
      }
    }
    assert.deepEqual(found, []);
  });

  it('are found whole, in any case, with their line', () => {
    assert.deepEqual(findForbidden('fine\nNobody buries it; buryable things'), [
      '2: "Nobody": name the party',
      '2: "buries": say "dead-letters"',
    ]);
  });
});
