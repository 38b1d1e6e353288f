import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';

/** One figure with the labels that tell it from others of its name. */
export interface Sample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

/** One metric, read when somebody asks. */
export interface Metric {
  /** With its unit, and `_total` for what only grows. */
  readonly name: string;
  readonly help: string;
  readonly kind: 'gauge' | 'counter';
  readonly labels?: readonly string[];
  readonly read: () => readonly Sample[];
}

export interface Metrics {
  readonly contentType: string;
  /** Everything, in the text format of Prometheus. */
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
        // The broker keeps the sum; here it is only shown.
        collect() {
          this.reset();
          for (const { labels: values = {}, value } of read()) this.inc(values, value);
        },
      });
    }
  }
  return { contentType: registry.contentType, text: () => registry.metrics() };
}
