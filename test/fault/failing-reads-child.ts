import { writeFileSync } from 'node:fs';
import { SluiceError } from '../../src/base/errors.js';
import { openIn, payloads, readAll } from '../integration/storage/harness.js';

/** Reads topic 2 of a store while so many reads of the disk fail: prints what came of it, a line for each number. */
const [directory, control] = process.argv.slice(2) as [string, string];
const storage = await openIn(directory, { tailBytes: 0 });
for (const failures of [1, 1_000_000, 0]) {
  for (const read of [
    async () => payloads(await readAll(storage.openReader(2, 0), 0)).length,
    async () => await storage.offsetAt(2, 0, 0),
  ]) {
    writeFileSync(control, String(failures).padEnd(20));
    const outcome = await read().catch((error: unknown) =>
      error instanceof SluiceError ? `${error.reason} ${error.message}` : `unexpected ${String(error)}`,
    );
    writeFileSync(control, '0'.padEnd(20));
    process.stdout.write(`${failures}: ${outcome}\n`);
  }
}
await storage.close();
