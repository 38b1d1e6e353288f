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
  const text = readFileSync(path, 'utf8');
  const file = relative(src, path);
  const found: Import[] = [];
  const statement = /^\s*(?:import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?'([^']+)'/gm;
  for (const [, type, target] of text.matchAll(statement)) {
    found.push({ file, target: target!, isTypeOnly: type !== undefined });
  }
  for (const [, target] of text.matchAll(/\bimport\(\s*'([^']+)'/g)) {
    found.push({ file, target: target!, isTypeOnly: false });
  }
  return found;
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
    const privates = /\bas unknown as (?:\{|ServerInternals)/;
    const files = [...filesBelow(join(src, 'transport'))].map((path) => relative(src, path));
    const reaching = files.filter((file) => privates.test(readFileSync(join(src, file), 'utf8')));
    assert.ok(reaching.length > 0, 'the casts were not found');
    assert.deepEqual(
      reaching.filter((file) => !file.startsWith('transport/grpc/grpc-js/')),
      [],
    );
  });

  it('take time and chance only from base/', () => {
    const real =
      /\bDate\.now\(|\bnew Date\(\)|\bMath\.random\(|(?<![.\w])set(?:Timeout|Interval)\(|\bperformance\.now\(/;
    const offenders = [...filesBelow(src)]
      .map((path) => relative(src, path))
      .filter((file) => !file.startsWith('base/') && !file.startsWith('gen/'))
      .filter((file) => real.test(readFileSync(join(src, file), 'utf8')));
    assert.deepEqual(offenders, []);
  });

  it('below the API name no field of a request', () => {
    const offenders = ['core', 'broker', 'storage']
      .flatMap((layer) => [...filesBelow(join(src, layer))])
      .filter((path) => /new SluiceError\([^;]*\bfield\b(?: }|:)/.test(readFileSync(path, 'utf8')))
      .map((path) => relative(src, path));
    assert.deepEqual(offenders, []);
  });

  it('have no file that is too long to know', () => {
    const long = [...filesBelow(src)]
      .filter((path) => !path.startsWith(join(src, 'gen')))
      .map((path) => ({ path: relative(src, path), lines: readFileSync(path, 'utf8').split('\n').length }))
      .filter(({ lines }) => lines > 800);
    assert.deepEqual(long, []);
  });

  it('are all there', () => {
    for (const layer of Object.keys(allowed)) assert.ok(existsSync(join(src, layer)), layer);
  });
});
