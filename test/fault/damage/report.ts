import type { RunResult } from './run.js';

/** What was done, what came of it, and how to repeat it. */
export function describeRun({ plan, damage, verdict, lives }: RunResult): string {
  const { seed, variant } = plan;
  const said = lives.map((life) =>
    life.kind === 'served' ? 'served' : `${life.kind} (${life.text.slice(0, 300)})`,
  );
  const violations = verdict.violations
    .slice(0, 6)
    .map(({ kind, text }) => `  ${kind}: ${text.slice(0, 300)}`);
  return [
    `seed ${seed}, store ${variant}: ${damage.text}`,
    `  ${verdict.outcome}; starts: ${said.join('; ')}`,
    ...[...new Set(violations)],
    ...(verdict.violations.length > 6 ? [`  and ${verdict.violations.length - 6} more`] : []),
    `  repeat: make damage RUNS=1 SEED=${seed}`,
    '',
  ].join('\n');
}
