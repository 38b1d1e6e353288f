import { buildLimitMs, builtOrSkipped, clientLanguages, makeClient } from '../support/client-languages.js';

/** The tests of the TypeScript client run with those of the repository. */
const withSuites = clientLanguages.filter(({ name }) => name !== 'typescript');

describe("each client's own tests", () => {
  for (const language of withSuites) {
    it(language.name, async function () {
      await builtOrSkipped(language, this);
      this.timeout(buildLimitMs);
      this.slow(buildLimitMs);
      const said = (await makeClient(language, 'test')).trimEnd().split('\n');
      console.log(`      ${language.name}: ${said.at(-1)}`);
    });
  }
});
