import { readFileSync } from 'node:fs';
import { type CallOptions, connect, type SluiceClient, SluiceError, StatusCode } from '@sluice/client';
import { limits } from '../base/limits.js';
import { address, type Kind, text, ValueFault } from '../config/kinds.js';
import type { Context } from './command.js';
import { Unreachable, UsageError } from './exit.js';
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

/** The parameters of every command that calls a broker. */
export const connectionParameters = {
  server: value(address, 'Broker to call (default SLUICE_SERVER, or 127.0.0.1:7070)'),
  tls: toggle('Connect with TLS, trusting the authorities of the system'),
  tlsCa: value(text('<file>'), 'Connect with TLS, trusting the authorities of this PEM file'),
  metadata: list(pair, 'gRPC metadata to send with every call, such as credentials'),
} as const;

export type ConnectionValues = ValuesOf<typeof connectionParameters>;

/** Connects, runs `work`, and always closes the connection. Throws Unreachable if there is no connection. */
export async function withClient<T>(
  values: ConnectionValues,
  context: Context,
  work: (client: SluiceClient) => Promise<T>,
): Promise<T> {
  const target = targetOf(values, context);
  const client = connect(target, {
    tls: values.tlsCa === undefined ? values.tls : { ca: readAuthority(values.tlsCa) },
    metadata: Object.fromEntries(values.metadata),
  });
  try {
    return await work(client);
  } catch (error) {
    if (!(error instanceof SluiceError) || error.code !== StatusCode.UNAVAILABLE) throw error;
    const cause = await client.causeOf(error);
    throw cause === undefined ? error : new Unreachable(target, cause, error);
  } finally {
    client.close();
  }
}

function readAuthority(path: string): Buffer {
  let pem: Buffer;
  try {
    pem = readFileSync(path);
  } catch (error) {
    throw new UsageError(`--tls-ca ${path} can't be read: ${error instanceof Error ? error.message : error}`);
  }
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) {
    throw new UsageError(
      `--tls-ca ${path} holds no certificate: it must be a PEM file, with BEGIN CERTIFICATE in it`,
    );
  }
  return pem;
}

/** The options of a call that is answered at once, or fails. */
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
