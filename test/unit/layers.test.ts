import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
const src = join(root, 'src');

/** Which folders of src/ a folder may import from, itself aside. */
const allowed: Record<string, readonly string[]> = {
  base: [],
  core: ['base'],
  envelope: ['base'],
  storage: ['envelope', 'base', 'gen/sluice/storage'],
  broker: ['core', 'storage', 'envelope', 'base'],
  // The typed table of methods needs the descriptors and messages of the API.
  api: ['broker', 'core', 'envelope', 'base', 'gen/sluice/v1'],
  // A transport serves the table of methods of an API. The broker is behind the table.
  transport: ['api', 'base', 'gen/google'],
  config: ['base'],
  observe: ['base'],
  node: ['base', 'storage', 'broker', 'api', 'transport', 'config', 'observe'],
  cli: ['base', 'node', 'config', 'observe'],
  gen: [],
};

/** Packages that are confined to one file or folder, however good the reason elsewhere. */
const confined: Record<string, RegExp> = {
  '@nxtedition/rocksdb': /^storage\/engine\/engine\.ts$/,
  '@grpc/grpc-js': /^transport\/grpc\//,
  '@grpc/reflection': /^transport\/grpc\//,
  'grpc-health-check': /^transport\/grpc\//,
  pino: /^observe\//,
  'prom-client': /^observe\//,
  '@sluice/client': /^cli\//,
};

/** The same number as in biome.json, which also measures tests. */
const maxLines = 500;

interface Import {
  readonly file: string;
  readonly target: string;
  readonly isTypeOnly: boolean;
}

function* filesBelow(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesBelow(path);
    else if (entry.name.endsWith('.ts')) yield path;
  }
}

function importsOf(path: string): Import[] {
  return importsIn(relative(src, path), readFileSync(path, 'utf8'));
}

/** Statements, `import('…')` in expressions and types, `require('…')`, and modules that a thread or a process runs. */
function importsIn(file: string, text: string): Import[] {
  const found: Import[] = [];
  const statement = /(?:^|;)\s*(?:import|export)\b\s*(type\b)?(?:[^'"`;]*?\bfrom)?\s*['"]([^'"]+)['"]/gm;
  for (const [, type, target] of text.matchAll(statement)) {
    found.push({ file, target: target!, isTypeOnly: type !== undefined });
  }
  const call = /\b(?:import|require)\(\s*['"`]([^'"`]+)['"`]|\bnew URL\(\s*['"`]([^'"`]+\.js)['"`]/g;
  for (const [, imported, run] of text.matchAll(call)) {
    found.push({ file, target: (imported ?? run)!, isTypeOnly: false });
  }
  return found;
}

/** The arguments of each `new SluiceError(…)` of a text. */
function errorArguments(text: string): string[] {
  return Array.from(text.matchAll(/\bnew SluiceError\(/g), ({ 0: { length }, index }) => {
    let depth = 1;
    let end = index + length;
    for (; depth > 0 && end < text.length; end++) {
      if ('({['.includes(text[end]!)) depth++;
      else if (')}]'.includes(text[end]!)) depth--;
    }
    return text.slice(index + length, end);
  });
}

function namesField(text: string): boolean {
  return errorArguments(text).some((each) => /[{,]\s*['"]?field['"]?\s*[:,}]/.test(each));
}

/** Any mention: a clock can be taken under another name, too. */
const timeOrChance =
  /\bDate\.now\b|(?<!new )\bDate\(|\bnew Date(?!\(\s*[^)\s])|\bMath\.random\b|\bset(?:Timeout|Interval)\b|\bperformance\.|\bhrtime\b/;

/** Ids that have to differ over all processes come from the system, and the seed of everything else. */
const systemRandom = /\brandom(?:Int|UUID|Bytes|FillSync|Fill)\b|\bgetRandomValues\b/;
const systemRandomFiles = [
  'broker/delivery/consumer-session.ts',
  'node/node.ts',
  'storage/recovery/data-directory.ts',
];

/** Casts and accesses that get around the declared types. */
const aroundTypes = /\bas unknown as\b|\bas any\b|\bas never\b|<any>|\b[a-z]\w*\['\w+'\]|\bReflect\.get\(/;

/** The files of src/, outside generated code, whose text matches. */
function filesWith(pattern: RegExp | ((text: string) => boolean), folder = ''): string[] {
  const test = typeof pattern === 'function' ? pattern : (text: string) => pattern.test(text);
  return [...filesBelow(join(src, folder))]
    .filter((path) => test(readFileSync(path, 'utf8')))
    .map((path) => relative(src, path))
    .filter((file) => !file.startsWith('gen/'));
}

/** What is wrong with an import; undefined when nothing is. */
function fault({ file, target, isTypeOnly }: Import): string | undefined {
  const layer = file.split('/')[0]!;
  if (layer === 'gen') return undefined;
  if (target.startsWith('.')) return faultInside(file, layer, target, isTypeOnly);
  if (layer === 'core') return `${file} is pure and may not import ${target}`;
  for (const [name, where] of Object.entries(confined)) {
    const isThat = target === name || target.startsWith(`${name}/`);
    if (isThat && !where.test(file)) return `${file} may not import ${target}`;
  }
  return undefined;
}

function faultInside(file: string, layer: string, target: string, isTypeOnly: boolean): string | undefined {
  const path = relative(src, resolve(src, dirname(file), target));
  if (path.startsWith('..')) return `${file} leaves src/: ${target}`;
  const folder = path.split('/')[0]!;
  if (folder === layer) return undefined;
  // A transport serves any API. Only the composition root names one.
  if (layer === 'transport' && path.startsWith('api/sluice-v1')) return `${file} may not import ${path}`;
  // The API layer calls the broker. Of what lies below the broker it knows only types.
  const isTypesOnly = layer === 'api' && folder === 'core';
  if (isTypesOnly && !isTypeOnly) return `${file} may import only types from ${folder}/`;
  const mayImport = allowed[layer]?.some((each) => path === each || path.startsWith(`${each}/`));
  return mayImport ? undefined : `${file} may not import ${path}`;
}

/**
 * The circles between the files and folders of each folder: what a folder's files import counts as its own. Returns
 * the imports that are part of a circle.
 */
function circles(imports: readonly Import[]): string[] {
  const found: string[] = [];
  for (const [folder, links] of linksByFolder(imports)) {
    for (const [from, targets] of links) {
      for (const [to, examples] of targets) {
        if (reaches(links, to, from))
          found.push(`${folder || 'src'}: ${from} → ${to}: ${examples.join(', ')}`);
      }
    }
  }
  return found;
}

/** By entry of a folder: the entries of the same folder that it imports from, each with the imports. */
type Links = Map<string, Map<string, string[]>>;

function linksByFolder(imports: readonly Import[]): Map<string, Links> {
  const folders = new Map<string, Links>();
  for (const { file, target } of imports) {
    if (!target.startsWith('.')) continue;
    const path = relative(src, resolve(src, dirname(file), target)).replace(/\.js$/, '.ts');
    const from = file.split('/');
    const to = path.split('/');
    let depth = 0;
    while (from[depth] === to[depth] && depth < from.length - 1) depth += 1;
    const folder = from.slice(0, depth).join('/');
    const links: Links = folders.get(folder) ?? new Map();
    folders.set(folder, links);
    const targets = links.get(from[depth]!) ?? new Map<string, string[]>();
    links.set(from[depth]!, targets);
    targets.set(to[depth]!, [...(targets.get(to[depth]!) ?? []), `${file} imports ${path}`]);
  }
  return folders;
}

function reaches(links: Links, start: string, end: string): boolean {
  const seen = new Set<string>();
  const pending = [start];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    if (at === end) return true;
    if (seen.has(at)) continue;
    seen.add(at);
    pending.push(...(links.get(at)?.keys() ?? []));
  }
  return false;
}

describe('layers', () => {
  it('import only what lies below them', () => {
    const imports = [...filesBelow(src)].flatMap(importsOf);
    assert.ok(imports.length > 100, 'the imports were not found');
    assert.deepEqual(
      imports.map(fault).filter((each) => each !== undefined),
      [],
    );
  });

  it('are told apart by this test', () => {
    const wrong: Import[] = [
      { file: 'core/subscription-state.ts', target: '../storage/types.js', isTypeOnly: true },
      { file: 'core/subscription-state.ts', target: 'node:fs', isTypeOnly: false },
      { file: 'storage/log.ts', target: '../core/types.js', isTypeOnly: true },
      { file: 'envelope/entries.ts', target: '../storage/types.js', isTypeOnly: true },
      { file: 'storage/log.ts', target: '@nxtedition/rocksdb', isTypeOnly: false },
      { file: 'broker/broker.ts', target: '../transport/grpc/server.js', isTypeOnly: false },
      { file: 'broker/broker.ts', target: '@grpc/grpc-js', isTypeOnly: true },
      { file: 'transport/grpc/server.ts', target: '../../storage/storage.js', isTypeOnly: false },
      { file: 'transport/grpc/server.ts', target: '../../broker/types.js', isTypeOnly: true },
      { file: 'transport/grpc/server.ts', target: '../../api/sluice-v1/api.js', isTypeOnly: false },
      { file: 'api/sluice-v1/read.ts', target: '../../transport/context.js', isTypeOnly: true },
      { file: 'cli/main.ts', target: '../broker/broker.js', isTypeOnly: false },
      { file: 'base/clock.ts', target: '../config/settings.js', isTypeOnly: false },
    ];
    for (const each of wrong) assert.notEqual(fault(each), undefined, `${each.file} → ${each.target}`);
    assert.equal(
      fault({ file: 'broker/broker.ts', target: '../core/types.js', isTypeOnly: false }),
      undefined,
    );
  });

  it('have no circle between files or folders, types included', () => {
    assert.deepEqual(circles([...filesBelow(src)].flatMap(importsOf)), []);
  });

  it('have their circles found, over any number of folders', () => {
    const link = (file: string, target: string): Import => ({ file, target, isTypeOnly: true });
    const between = [
      link('broker/topics/a.ts', '../delivery/b.js'),
      link('broker/delivery/c.ts', '../dead-letters/d.js'),
      link('broker/dead-letters/e.ts', '../topics/f.js'),
      link('broker/broker.ts', './topics/a.js'),
    ];
    assert.equal(circles(between).length, 3);
    assert.deepEqual(circles(between.slice(1)), []);
    const withFile = [
      link('storage/codec/run.ts', '../types.js'),
      link('storage/types.ts', './codec/topic.js'),
    ];
    assert.equal(circles(withFile).length, 2);
  });

  it('of storage/ build on one another in one order', () => {
    const order = ['engine', 'codec', 'log', 'recovery', 'commit'];
    const faults = [...filesBelow(join(src, 'storage'))].flatMap(importsOf).flatMap(({ file, target }) => {
      const folder = file.split('/')[1]!;
      if (!order.includes(folder) || !target.startsWith('.')) return [];
      const [layer, below] = relative(src, resolve(src, dirname(file), target)).split('/');
      // types.ts is the contract of the whole folder.
      const isAllowed = below === 'types.js' || order.indexOf(below!) <= order.indexOf(folder);
      const isInOrder =
        layer !== 'storage' || (isAllowed && (below === 'types.js' || order.includes(below!)));
      return isInOrder ? [] : [`${file} may not import ${target}`];
    });
    assert.deepEqual(faults, []);
  });

  it('reach into private parts of grpc-js only in transport/grpc/grpc-js/', () => {
    // Gives a library a value of the library's own making.
    const exceptions = ['transport/grpc/reflection.ts'];
    const reaching = filesWith(aroundTypes, 'transport');
    assert.ok(reaching.length > 2, 'the casts were not found');
    const outside = reaching.filter((file) => !file.startsWith('transport/grpc/grpc-js/'));
    assert.deepEqual(outside, exceptions);
  });

  it('take time and chance only from base/', () => {
    const isOutside = (file: string) => !file.startsWith('base/');
    assert.ok(filesWith(timeOrChance).length > 0, 'the clock of base/ was not found');
    assert.deepEqual(filesWith(timeOrChance).filter(isOutside), []);
    assert.deepEqual(filesWith(systemRandom).filter(isOutside).sort(), systemRandomFiles);
  });

  it('below the API name no field of a request', () => {
    const errors = filesWith(/\bnew SluiceError\(/, 'broker');
    assert.ok(errors.length > 5, 'the errors were not found');
    for (const layer of ['core', 'broker', 'storage']) assert.deepEqual(filesWith(namesField, layer), []);
  });

  it('have the patterns that find violations in texts', () => {
    const found = (text: string) => importsIn('core/x.ts', text).map(({ target }) => target);
    for (const text of [
      "import { x } from '../y.js';",
      'import { x } from "../y.js";',
      "import {\n  x,\n} from '../y.js';",
      "import type { X } from '../y.js';",
      "import '../y.js';",
      "export * from '../y.js';",
      "const x = 1; import { y } from '../y.js';",
      "const x = await import('../y.js');",
      "let x: import('../y.js').X;",
      "const x = require('../y.js');",
      "new Worker(new URL('../y.js', import.meta.url));",
    ]) {
      assert.deepEqual(found(text), ['../y.js'], text);
    }
    const matching: readonly (readonly [RegExp, ...string[]])[] = [
      [
        timeOrChance,
        'Date.now()',
        'const now = Date.now;',
        'new Date()',
        'new Date( )',
        'Date()',
        'new Date;',
      ],
      [
        timeOrChance,
        'Math.random()',
        'setTimeout(f, 1)',
        'globalThis.setTimeout(f)',
        'timers.setInterval(f)',
      ],
      [timeOrChance, 'performance.now()', 'process.hrtime.bigint()'],
      [systemRandom, 'crypto.randomUUID()', 'randomBytes(16)', 'getRandomValues(bytes)'],
      [aroundTypes, 'call as unknown as Internals', 'call as any', "call['stream']", 'server as never'],
    ];
    for (const [pattern, ...texts] of matching) {
      for (const text of texts) assert.match(text, pattern);
    }
    for (const text of ['new Date(timeMs)', 'clock.wallMs()', 'setImmediate(f)', 'randomOrder']) {
      assert.doesNotMatch(text, timeOrChance);
    }
    assert.ok(namesField("throw new SluiceError('X', text(a, 'b'), {\n  field: 'topic',\n})"));
    assert.ok(namesField("new SluiceError('X', text, { metadata: { a: 1 }, field })"));
    assert.ok(!namesField("new SluiceError('X', 'no field, at all'); const { field } = x;"));
  });

  it('have no file that is too long to know', () => {
    const { linter } = JSON.parse(readFileSync(join(root, 'biome.json'), 'utf8'));
    const { level, options } = linter.rules.style.noExcessiveLinesPerFile;
    assert.deepEqual([level, options.maxLines], ['error', maxLines], 'what `make check` measures');
    const long = filesWith((text) => lineCount(text) > maxLines);
    assert.deepEqual(long, []);
    assert.equal(lineCount(`${'line\n'.repeat(maxLines)}`), maxLines);
  });

  it('are all there', () => {
    for (const layer of Object.keys(allowed)) assert.ok(existsSync(join(src, layer)), layer);
  });
});

function lineCount(text: string): number {
  return text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
}
