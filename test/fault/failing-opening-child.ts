import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SluiceError } from '../../src/base/errors.js';
import { Engine } from '../../src/storage/engine/engine.js';
import { recover } from '../../src/storage/recovery/recovery.js';

/** Reads the catalog of a store while so many reads of the disk fail: prints what came of it, a line for each number. */
const [directory, control] = process.argv.slice(2) as [string, string];
for (const failures of [1, 1_000_000, 0]) {
  const engine = await Engine.open(join(directory, 'db'), 4);
  writeFileSync(control, String(failures).padEnd(20));
  const outcome = await recover(engine, async () => []).then(
    ({ topics, faults }) => `${topics.size} topics, ${faults.length} faults`,
    (error: unknown) =>
      error instanceof SluiceError ? `${error.reason} ${error.message}` : `unexpected ${String(error)}`,
  );
  writeFileSync(control, '0'.padEnd(20));
  process.stdout.write(`${failures}: ${outcome}\n`);
  await engine.close();
}
