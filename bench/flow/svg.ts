import type { Sample } from '../load/samples.js';

export interface Line {
  readonly label: string;
  readonly colour: string;
  /** In the unit of the panel. */
  readonly points: readonly Sample[];
}

export interface Panel {
  readonly title: string;
  readonly lines: readonly Line[];
}

export interface Plot {
  readonly title: string;
  readonly beginMs: number;
  readonly endMs: number;
  /** Shaded: the times of trouble. */
  readonly troublesMs: readonly (readonly [number, number])[];
  readonly panels: readonly Panel[];
}

const width = 860;
const panelHeight = 170;
const left = 70;
const right = 20;
const top = 46;
const gap = 52;
/** Labels that fit below a panel. */
const mostTimes = 20;

/** Panels one below the other over the same seconds. */
export function drawPlot(plot: Plot): string {
  const height = top + plot.panels.length * (panelHeight + gap);
  const x = (atMs: number) =>
    left + ((atMs - plot.beginMs) / (plot.endMs - plot.beginMs)) * (width - left - right);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    text(left, 20, plot.title, 'font-size="14" font-weight="bold"'),
    ...plot.panels.flatMap((panel, i) => drawPanel(plot, panel, top + i * (panelHeight + gap), x)),
    '</svg>',
  ];
  return `${parts.join('\n')}\n`;
}

function drawPanel(plot: Plot, panel: Panel, y0: number, x: (atMs: number) => number): string[] {
  const most = Math.max(1, ...panel.lines.flatMap(({ points }) => points.map(({ total }) => total)));
  const step = niceStep(most / 4);
  const ceiling = Math.ceil(most / step) * step;
  const y = (value: number) => y0 + panelHeight - (Math.min(value, ceiling) / ceiling) * panelHeight;
  const parts = plot.troublesMs.map(
    ([from, until]) =>
      `<rect x="${fixed(x(from))}" y="${y0}" width="${fixed(x(until) - x(from))}" height="${panelHeight}" fill="#fbe9d0"/>`,
  );
  for (let value = 0; value <= ceiling; value += step) {
    parts.push(
      `<line x1="${left}" x2="${width - right}" y1="${fixed(y(value))}" y2="${fixed(y(value))}" stroke="#ddd"/>`,
      text(left - 6, y(value) + 4, String(value), 'text-anchor="end"'),
    );
  }
  const seconds = Math.floor((plot.endMs - plot.beginMs) / 1000);
  for (let second = 0; second <= seconds; second += niceStep(seconds / mostTimes)) {
    parts.push(
      text(x(plot.beginMs + second * 1000), y0 + panelHeight + 15, `${second} s`, 'text-anchor="middle"'),
    );
  }
  parts.push(text(left, y0 - 6, panel.title, 'fill="#555"'));
  panel.lines.forEach(({ label, colour, points }, i) => {
    const shown = points.filter(({ atMs }) => atMs >= plot.beginMs && atMs <= plot.endMs);
    const path = shown.map(({ atMs, total }) => `${fixed(x(atMs))},${fixed(y(total))}`).join(' ');
    parts.push(
      `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="1.5"/>`,
      text(left + 220 + i * 180, y0 - 6, `— ${label}`, `fill="${colour}"`),
    );
  });
  return parts;
}

/** 1, 2 or 5 times a power of ten. */
function niceStep(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= value);
  return (step ?? 10) * power;
}

function text(x: number, y: number, content: string, attributes: string): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${fixed(x)}" y="${fixed(y)}" ${attributes}>${escaped}</text>`;
}

function fixed(value: number): string {
  return value.toFixed(1);
}

/** A running total as a speed, over so many samples to either side. */
export function toRate(samples: readonly Sample[], unit: number, reach = 2): Sample[] {
  const rates: Sample[] = [];
  for (let i = reach; i + reach < samples.length; i++) {
    const [before, after] = [samples[i - reach]!, samples[i + reach]!];
    const perSecond = ((after.total - before.total) * 1000) / (after.atMs - before.atMs);
    rates.push({ atMs: samples[i]!.atMs, total: perSecond / unit });
  }
  return rates;
}
