import { fileURLToPath } from 'node:url';

/** Paths of the working tree, as seen from compiled code in dist/test/support. */
export const repositoryRoot = fileURLToPath(new URL('../../../', import.meta.url));
export const distDirectory = fileURLToPath(new URL('../../', import.meta.url));
/** The compiled command line, below a dist directory. */
export const cliPath = 'src/cli/main.js';
/** What tests build or fetch once. */
export const cacheDirectory = `${repositoryRoot}node_modules/.cache/sluice`;
