/** A line of a plot. */
export interface Series {
  readonly name: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

export interface Plot {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly xScale: 'linear' | 'log';
  readonly series: readonly Series[];
}

const width = 640;
const height = 360;
const margin = { top: 40, right: 150, bottom: 50, left: 80 };
const colors = ['#1f77b4', '#d62728', '#2ca02c', '#9467bd', '#ff7f0e'];
const tickCount = 5;

/** The plot as an SVG document. The y axis begins at 0, so that heights can be compared. */
export function toSvg(plot: Plot): string {
  const { title, xLabel, yLabel, xScale, series } = plot;
  const xs = series.flatMap(({ points }) => points.map(({ x }) => x));
  const ys = series.flatMap(({ points }) => points.map(({ y }) => y));
  const along = xScale === 'log' ? Math.log10 : (x: number) => x;
  const [least, most] = [along(Math.min(...xs)), along(Math.max(...xs))];
  const top = roundUp(Math.max(...ys));
  const right = width - margin.right;
  const bottom = height - margin.bottom;
  const atX = (x: number) => margin.left + ((along(x) - least) / (most - least || 1)) * (right - margin.left);
  const atY = (y: number) => bottom - (y / top) * (bottom - margin.top);

  const parts = [text(margin.left, 20, title, 'font-weight="bold"')];
  for (let i = 0; i <= tickCount; i += 1) {
    const y = (top * i) / tickCount;
    parts.push(line(margin.left, atY(y), right, atY(y), '#ddd'));
    parts.push(text(margin.left - 8, atY(y) + 4, label(y), 'text-anchor="end"'));
  }
  for (const x of new Set(xs)) parts.push(text(atX(x), bottom + 18, label(x), 'text-anchor="middle"'));
  parts.push(text((margin.left + right) / 2, height - 12, xLabel, 'text-anchor="middle"'));
  parts.push(text(16, margin.top - 12, yLabel, ''));
  for (const [i, { name, points }] of series.entries()) {
    const color = colors[i % colors.length]!;
    const corners = points.map(({ x, y }) => `${atX(x).toFixed(1)},${atY(y).toFixed(1)}`);
    parts.push(`<polyline points="${corners.join(' ')}" fill="none" stroke="${color}" stroke-width="2"/>`);
    for (const corner of corners) {
      const [cx, cy] = corner.split(',');
      parts.push(`<circle cx="${cx}" cy="${cy}" r="3" fill="${color}"/>`);
    }
    parts.push(text(right + 12, margin.top + 18 * i, name, `fill="${color}"`));
  }
  const body = parts.map((part) => `  ${part}\n`).join('');
  const head = `xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12"`;
  return `<svg ${head}>\n  <title>${escapeText(title)}</title>\n  <rect width="100%" height="100%" fill="white"/>\n${body}</svg>\n`;
}

/** The next 1, 2 or 5 times a power of ten. */
function roundUp(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value) ?? 10 * power;
}

function label(value: number): string {
  return value >= 10 ? Math.round(value).toLocaleString('en-US') : String(Number(value.toFixed(2)));
}

function line(x1: number, y1: number, x2: number, y2: number, color: string): string {
  const ends = `x1="${x1}" y1="${y1.toFixed(1)}" x2="${x2}" y2="${y2.toFixed(1)}"`;
  return `<line ${ends} stroke="${color}"/>`;
}

function text(x: number, y: number, content: string, attributes: string): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escapeText(content)}</text>`;
}

function escapeText(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
