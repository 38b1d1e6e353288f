import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { repositoryRoot } from '../support/repository.js';

const read = (path: string) => readFileSync(join(repositoryRoot, path), 'utf8');

/** Every file of the repository that is not installed, built or generated at run time. */
const files = [...filesBelow('')].sort();
const folders = new Set(files.flatMap(foldersOf));

function* filesBelow(folder: string): Generator<string> {
  // Installed, built, or written by a broker or a test that runs meanwhile.
  const skipped = /^(?:node_modules|dist|target|build|results|data|[\w]+-data|__pycache__|\.(?!ci$).*)$/;
  for (const entry of readdirSync(join(repositoryRoot, folder), { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isFile()) yield path;
    else if (entry.isDirectory() && !skipped.test(entry.name)) yield* filesBelow(path);
    else if (path === 'test/data') yield* filesBelow(path);
  }
}

function foldersOf(path: string): string[] {
  const folder = dirname(path);
  return folder === '.' ? [] : [folder, ...foldersOf(folder)];
}

/** Documents for developers: what they name has to exist. */
const documents = files.filter((path) =>
  /^(?:ARCHITECTURE|CONTRIBUTING|SECURITY)\.md$|^docs\/(?:dev|adr)\/|^(?:src|test)\/.*README\.md$/.test(path),
);

/** Names of files that exist only at run time or in another place. */
const notInTheTree = /^(?:bench\/results\/|dist\/$|dist\/mutation|build\/)/;

/** What looks like a path: in code, in a block of commands, or as the target of a link. */
function pathsIn(text: string): string[] {
  const blocks = [...text.matchAll(/```[\s\S]*?```/g)].flatMap(([block]) => block.split(/\s+/));
  const spans = [...text.replaceAll(/```[\s\S]*?```/g, '').matchAll(/`([^`\n]+)`/g)].map(([, code]) => code!);
  const links = [...text.matchAll(/\]\(([^)#\s]+)(?:#[^)\s]*)?\)/g)].map(([, target]) => target!);
  const words = [...blocks, ...spans.flatMap((span) => span.split(/\s+/))];
  return [...words.filter(isPath), ...links.filter((link) => !/^\w+:/.test(link))];
}

const topLevel = new Set(files.map((path) => path.split('/')[0]!));

function isPath(word: string): boolean {
  if (!/^[\w.*][\w./*-]*$/.test(word) || word.startsWith('./')) return false;
  if (/\.(?:ts|js|cjs|md|proto|json|jsonc|svg|c|go|toml|xml|binpb)$/.test(word)) return true;
  if (!word.includes('/')) return false;
  return word.endsWith('/') || topLevel.has(word.split('/')[0]!);
}

/** From the folder of the document, the root, or src/; a name without a folder is that of any file. */
function exists(document: string, path: string): boolean {
  const source = path.replace(/^dist\/(.*)\.js$/, '$1.ts').replace(/\/$/, '');
  const places = [join(dirname(document), source), source, join('src', source), join('src/api', source)];
  return places.some((place) => {
    if (!place.includes('*')) return files.includes(place) || folders.has(place) || isNameOfAnyFile(source);
    const pattern = new RegExp(`^(?:src/.*)?${place.replaceAll('.', '\\.').replaceAll('*', '[^/]*')}$`);
    return files.some((file) => pattern.test(file));
  });
}

function isNameOfAnyFile(path: string): boolean {
  return !path.includes('/') && files.some((file) => file.endsWith(`/${path}`));
}

function sectionOf(text: string, title: string): string {
  const start = text.indexOf(`\n## ${title}\n`);
  assert.ok(start >= 0, title);
  const end = text.indexOf('\n## ', start + 1);
  return text.slice(start, end < 0 ? undefined : end);
}

describe('documents for developers', () => {
  it('name files and folders that exist', () => {
    assert.ok(documents.length > 40, 'the documents were not found');
    const missing = documents.flatMap((document) =>
      pathsIn(read(document))
        .filter((path) => !notInTheTree.test(path) && !exists(document, path))
        .map((path) => `${document}: ${path}`),
    );
    assert.deepEqual(missing, []);
  });

  it('name every source file of their folder', () => {
    const missing = documents
      .filter((path) => path.startsWith('src/'))
      .flatMap((document) => {
        const text = read(document);
        return files
          .filter((path) => dirname(path) === dirname(document) && path.endsWith('.ts'))
          .filter((path) => !text.includes(`${relative(dirname(document), path)}\``))
          .map((path) => `${document}: ${path}`);
      });
    assert.deepEqual(missing, []);
  });

  it('are searched for paths', () => {
    const text =
      'see `src/no/such.ts`, `broker/none/`, `make x`, `a/b`, [page](docs/none.md#part)\n```sh\nnode dist/no/main.js\n```\n';
    assert.deepEqual(pathsIn(text), ['dist/no/main.js', 'src/no/such.ts', 'broker/none/', 'docs/none.md']);
    for (const path of pathsIn(text)) assert.ok(!exists('ARCHITECTURE.md', path), path);
    for (const path of [
      'src/base/limits.ts',
      'base/limits.ts',
      'limits.ts',
      'docs/adr/',
      'dist/bench/main.js',
    ]) {
      assert.ok(exists('ARCHITECTURE.md', path), path);
    }
  });

  it('have links to headings that exist', () => {
    const missing: string[] = [];
    for (const document of files.filter((path) => path.endsWith('.md') && !path.startsWith('node_modules'))) {
      for (const [, target, anchor] of read(document).matchAll(/\]\(([^)#:\s]*)#([^)\s]+)\)/g)) {
        const page = target === '' ? document : join(dirname(document), target!);
        const isThere =
          existsSync(join(repositoryRoot, page)) && statSync(join(repositoryRoot, page)).isFile();
        if (!isThere || !anchorsOf(read(page)).has(anchor!)) missing.push(`${document}: ${target}#${anchor}`);
      }
    }
    assert.deepEqual(missing, []);
  });

  it('agree on the version that is released', () => {
    const versions = {
      'package.json': /^ {2}"version": "(.+)"/m,
      'clients/typescript/package.json': /^ {2}"version": "(.+)"/m,
      'clients/python/pyproject.toml': /^version = "(.+)"/m,
      'clients/java/pom.xml': /^ {2}<version>(.+)<\/version>/m,
    };
    const found = Object.entries(versions).map(([file, pattern]) => pattern.exec(read(file))?.[1]);
    assert.match(found[0]!, /^\d+\.\d+\.\d+$/);
    assert.deepEqual(new Set(found).size, 1, String(found));
  });
});

/** As GitHub forms them. */
function anchorsOf(text: string): Set<string> {
  const headings = text.replaceAll(/```[\s\S]*?```/g, '').matchAll(/^#+ (.+)$/gm);
  return new Set(
    Array.from(headings, ([, heading]) =>
      heading!
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

describe('docs/adr', () => {
  const pages = files.filter((path) => /^docs\/adr\/\d/.test(path)).map((path) => relative('docs/adr', path));
  const titles = pages.map((page) => {
    const [, number, title] = /^# (\d+)\. (.+)\n\nDecided (?:\d{4}-\d{2}-\d{2})\.\n/.exec(
      read(join('docs/adr', page)),
    )!;
    return { number: Number(number), title: title! };
  });

  it('numbers its pages without gaps, in the name and in the heading', () => {
    assert.ok(pages.length > 25, 'the pages were not found');
    assert.deepEqual(
      pages.map((page) => Number(page.slice(0, 4))),
      pages.map((_, index) => index + 1),
    );
    assert.deepEqual(
      titles.map(({ number }) => number),
      pages.map((_, index) => index + 1),
    );
  });

  it('lists each page in the README, with its date and its title', () => {
    const dates = pages.map((page) => /^Decided (.+)\.$/m.exec(read(join('docs/adr', page)))![1]);
    const rows = read('docs/adr/README.md').match(/^\| \[.*$/gm);
    assert.deepEqual(
      rows,
      pages.map((page, i) => `| [${page.slice(0, 4)}](${page}) | ${dates[i]} | ${titles[i]!.title} |`),
    );
  });
});

describe('the four ways of ARCHITECTURE.md', () => {
  const ways = sectionOf(read('ARCHITECTURE.md'), 'Four ways through the code')
    .split('\n### ')
    .slice(1)
    .map((text) => ({ title: text.split('\n')[0]!, rows: text.match(/^\| `.*$/gm) ?? [] }));

  function filesOf(row: string): string[] {
    return Array.from(row.split(' | ')[0]!.matchAll(/`([^`]+)`/g), ([, file]) => file!);
  }

  it('are a published message, a delivered run, an acknowledgement and a dead letter', () => {
    assert.deepEqual(
      ways.map(({ title }) => title),
      ['A published message', 'A delivered run', 'An acknowledgement', 'A dead letter'],
    );
    for (const { title, rows } of ways) assert.ok(rows.length >= 4, title);
  });

  it('enter each module once', () => {
    for (const { title, rows } of ways) {
      const modules = rows.map((row) => {
        const names = new Set(filesOf(row).map((file) => file.split('/')[0]!));
        assert.equal(names.size, 1, `${title}: ${row}`);
        return [...names][0]!;
      });
      assert.equal(new Set(modules).size, modules.length, `${title}: ${modules}`);
    }
  });

  it('name files that exist, and functions that are in them', () => {
    for (const { title, rows } of ways) {
      for (const row of rows) {
        const texts = filesOf(row).map((file) => read(join('src', file)));
        for (const [, name] of row.matchAll(/`(\w+)`:/g)) {
          const call = new RegExp(`\\b${name}(?:<[^(]*>)?\\(`);
          assert.ok(
            texts.some((text) => call.test(text)),
            `${title}: ${name} in ${filesOf(row)}`,
          );
        }
      }
    }
  });
});
