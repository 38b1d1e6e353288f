import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';

/** One figure, with its labels. */
export interface Sample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

/** One metric, read at each scrape. */
export interface Metric {
  /** With its unit, and `_total` for a counter. */
  readonly name: string;
  readonly help: string;
  readonly kind: 'gauge' | 'counter';
  readonly labels?: readonly string[];
  readonly read: () => readonly Sample[];
}

export interface Metrics {
  readonly contentType: string;
  /** All metrics, in the text format of Prometheus. */
  text(): Promise<string>;
}

/** These metrics, and those of the process: memory, processor, event loop, garbage collection. */
export function createMetrics(metrics: readonly Metric[]): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const { name, help, kind, labels = [], read } of metrics) {
    const shape = { name, help, labelNames: [...labels], registers: [registry] };
    if (kind === 'gauge') {
      new Gauge({
        ...shape,
        collect() {
          this.reset();
          for (const { labels: values = {}, value } of read()) this.set(values, value);
        },
      });
    } else {
      new Counter({
        ...shape,
        // The broker keeps the sum; this only reports it.
        collect() {
          this.reset();
          for (const { labels: values = {}, value } of read()) this.inc(values, value);
        },
      });
    }
  }
  return { contentType: registry.contentType, text: () => registry.metrics() };
}
