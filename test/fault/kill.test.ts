import assert from 'node:assert/strict';
import { systemClock } from '../../src/base/clock.js';
import { minuteMs } from '../../src/base/units.js';
import { BrokerProcess, showLogOnFailure } from '../support/broker-process.js';
import { runKills } from './kill-run.js';

/** `SLUICE_KILLS=n` for more kills, `SLUICE_SEED=n` to repeat a run (up to the machine's own timing). */
const kills = Number(process.env.SLUICE_KILLS ?? 20);
const seed = Number(process.env.SLUICE_SEED ?? systemClock.wallMs() % 1_000_000);

describe('kill -9 under load', () => {
  const broker = new BrokerProcess();
  showLogOnFailure(() => broker);
  after(() => broker.dispose());

  it(`keeps every promise over ${kills} kills (SLUICE_SEED=${seed})`, async function () {
    this.timeout(2 * minuteMs + kills * 0.5 * minuteMs);
    this.slow(2 * minuteMs);
    const report = await runKills({ seed, kills, broker });
    const texts = report.violations.slice(0, 20).map((violation) => violation.text);
    assert.deepEqual(texts, [], `${report.violations.length} violations with SLUICE_SEED=${seed}`);
    // A run without load would prove nothing.
    assert.equal(report.kills, kills + 1, 'one more before the audit');
    assert.ok(report.receiptedCount > kills * 10, `only ${report.receiptedCount} receipted`);
    assert.ok(report.storedCount >= report.receiptedCount);
    console.log(
      `      ${report.kills} kills: ${report.receiptedCount} receipted, ${report.storedCount} stored, ` +
        `${report.settledCount} acknowledged`,
    );
  });
});
