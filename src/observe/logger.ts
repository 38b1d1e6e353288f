import { type DestinationStream, pino, stdSerializers } from 'pino';
import type { Clock } from '../base/clock.js';
import type { Logger } from '../base/logger.js';
import { formatPretty } from './pretty.js';

export interface LoggerOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly format: 'json' | 'pretty';
  /** Colours, if the format is pretty. */
  readonly hasColors: boolean;
  readonly clock: Clock;
  /** Receives whole lines. */
  readonly destination: DestinationStream;
}

/** One line for each entry: JSON for machines, or columns for people. */
export function createLogger({ level, format, hasColors, clock, destination }: LoggerOptions): Logger {
  const pretty: DestinationStream = { write: (line) => destination.write(formatPretty(line, hasColors)) };
  return pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${new Date(clock.wallMs()).toISOString()}"`,
      messageKey: 'message',
      errorKey: 'error',
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: stdSerializers.errWithCause },
    },
    format === 'pretty' ? pretty : destination,
  );
}
