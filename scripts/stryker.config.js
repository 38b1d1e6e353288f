// `make mutate`: Stryker changes the sources in a sandbox, one change at a time, and runs the tests that reach the change.
import { createHash } from 'node:crypto';

const { FILES, TESTS, SAMPLE, SEED, CONCURRENCY } = process.env;
const sampleSize = Number(SAMPLE || Number.POSITIVE_INFINITY);
const seed = SEED || '1';

const places = (FILES || 'src/core src/broker src/storage').split(/\s+/).filter(Boolean);
const unitFolders = 'api,base,broker,core,envelope,node,observe,storage,transport';
const allTests = [
  `dist/test/unit/{${unitFolders}}/**/*.test.js`,
  'dist/test/simulation/mutation-seeds.js',
  // What tests the store in this process.
  'dist/test/contract/*.test.js',
  'dist/test/integration/storage/*.test.js',
  'dist/test/integration/delivery/broker-checks.test.js',
  'dist/test/fault/storage-@(cursors|damage|lost-extents|metadata|removed|tables).test.js',
];

/** The place of a mutant in a random order that the seed decides, whatever the other mutants are. */
function rank({ fileName, location, mutatorName, replacement }) {
  const text = JSON.stringify([
    seed,
    fileName.replace(process.cwd(), ''),
    location,
    mutatorName,
    replacement,
  ]);
  return createHash('sha256').update(text).digest('hex');
}

/** Stryker has no samples. This reporter gets the plan before the first mutant runs, and keeps a random part of it. */
const sampler = {
  onMutationTestingPlanReady({ mutantPlans }) {
    if (mutantPlans.length <= sampleSize) return;
    const ranked = mutantPlans.map((plan) => ({ plan, rank: rank(plan.mutant) }));
    ranked.sort((a, b) => (a.rank < b.rank ? -1 : 1));
    console.log(`A sample of ${sampleSize} of ${mutantPlans.length} mutants, SEED=${seed}.`);
    mutantPlans.splice(0, mutantPlans.length, ...ranked.slice(0, sampleSize).map(({ plan }) => plan));
  },
};
export const strykerPlugins = [{ kind: 'Reporter', name: 'sample', factory: () => sampler }];

export default {
  // A thread of its own: Stryker can't switch its mutants.
  mutate: [
    ...places.map((place) => (place.includes('.') ? place : `${place}/**/*.ts`)),
    '!**/*.d.ts',
    '!**/writer-thread.ts',
  ],
  buildCommand: 'tsc -b test',
  // Its code for this reads the configuration with the API of an older TypeScript.
  tsconfigFile: 'none',
  ignorePatterns: [
    '/*',
    '!/proto',
    '!/src',
    '!/test',
    '!/clients',
    '/clients/*',
    '!/clients/typescript',
    '!/package.json',
    '!/tsconfig*.json',
    'dist',
  ],
  testRunner: 'mocha',
  mochaOptions: {
    'no-config': true,
    // This test has a time limit, which is too short for sources that count their coverage.
    grep: '^(?!LeaseTable settles a hundred thousand leases)',
    spec: TESTS ? TESTS.split(/\s+/) : allTests,
  },
  coverageAnalysis: 'perTest',
  dryRunTimeoutMinutes: 30,
  concurrency: Number(CONCURRENCY || 1),
  appendPlugins: [import.meta.filename],
  reporters: ['sample', 'clear-text', 'progress', 'json'],
  clearTextReporter: { logTests: false, reportTests: false, allowColor: false },
  jsonReporter: { fileName: 'dist/mutation/report.json' },
  tempDirName: 'dist/mutation/sandbox',
  // Warnings name every test: Stryker does not find the compiled file among its sources.
  logLevel: 'error',
  thresholds: { high: 95, low: 90, break: 90 },
};
