import { readFileSync } from 'node:fs';
import { type CallOptions, connect, type SluiceClient } from '@sluice/client';
import { limits } from '../base/limits.js';
import { address, type Kind, text, ValueFault } from '../config/kinds.js';
import type { Context } from './command.js';
import { UsageError } from './exit.js';
import { list, toggle, type ValuesOf, value } from './parameters.js';

/** `name=value`, as a pair. */
export const pair: Kind<readonly [string, string]> = {
  placeholder: '<name=value>',
  parse(given) {
    const at = given.indexOf('=');
    if (at < 1) throw new ValueFault('name=value');
    return [given.slice(0, at), given.slice(at + 1)];
  },
  format: ([name, content]) => `${name}=${content}`,
};

/** What every command that calls a broker takes. */
export const connectionParameters = {
  server: value(address, 'Broker to call (default SLUICE_SERVER, or 127.0.0.1:7070)'),
  tls: toggle('Connect with TLS, trusting the authorities of the system'),
  tlsCa: value(text('<file>'), 'Connect with TLS, trusting the authorities of this PEM file'),
  metadata: list(pair, 'gRPC metadata to send with every call, such as credentials'),
} as const;

export type ConnectionValues = ValuesOf<typeof connectionParameters>;

/** Connects, works, and closes the connection whatever happens. */
export async function withClient<T>(
  values: ConnectionValues,
  context: Context,
  work: (client: SluiceClient) => Promise<T>,
): Promise<T> {
  const client = connect(targetOf(values, context), {
    tls: values.tlsCa === undefined ? values.tls : { ca: readFileSync(values.tlsCa) },
    metadata: Object.fromEntries(values.metadata),
  });
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

/** A call that is answered at once, or not at all. */
export function promptCall(context: Context): CallOptions {
  return { timeoutMs: limits.cliCallTimeoutMs, signal: context.interrupted };
}

function targetOf(values: ConnectionValues, context: Context): string {
  if (values.server !== undefined) return values.server;
  const given = context.env.SLUICE_SERVER;
  if (given === undefined || given === '') return '127.0.0.1:7070';
  try {
    return address.parse(given);
  } catch (error) {
    if (!(error instanceof ValueFault)) throw error;
    throw new UsageError(`SLUICE_SERVER must be ${error.message}; it is ${JSON.stringify(given)}`);
  }
}
