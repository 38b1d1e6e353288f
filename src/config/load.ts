import { SluiceError } from '../base/errors.js';
import { ValueFault } from './kinds.js';
import { findContradictions, type SettingName, type Settings, schema } from './schema.js';
import { suggest } from './suggest.js';

export interface SettingSources {
  /** By flag name, as given: `true` for a flag without a value. */
  readonly flags: Readonly<Record<string, string | boolean | undefined>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads the file of `--config`. Throws if it can't. */
  readonly readFile: (path: string) => string;
}

/**
 * Variables with our prefix that are not settings: the configuration file, and the address for the other commands.
 */
const otherVariables = new Set(['SLUICE_CONFIG', 'SLUICE_SERVER']);

/**
 * Variables that Kubernetes and Docker set for every program beside a service named `sluice`. Refusing them would
 * keep the broker from starting there.
 */
const linkVariable =
  /^SLUICE_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?|NAME|ENV_\w+)$/;

/**
 * Flag over environment over file over default. Throws INVALID_SETTING with all faults, one on each line: unknown
 * names, invalid values, contradictions.
 */
export function loadSettings(sources: SettingSources): Settings {
  const faults: string[] = [];
  const fileValues = readConfigFile(sources, faults);
  findUnknown(sources, fileValues, faults);

  const settings: Record<string, unknown> = {};
  for (const [name, { flag, variable, kind, fallback }] of Object.entries(schema)) {
    const candidates: [string, unknown][] = [
      [`--${flag}`, sources.flags[flag]],
      [variable, sources.env[variable]],
      [`"${flag}" in the configuration file`, fileValues[flag]],
    ];
    const [source, value] = candidates.find(([, value]) => value !== undefined) ?? [];
    if (source === undefined) {
      settings[name] = fallback;
      continue;
    }
    try {
      settings[name] = kind.parse(String(value));
    } catch (error) {
      if (!(error instanceof ValueFault)) throw error;
      faults.push(`${source} must be ${error.message}; it is ${JSON.stringify(value)}`);
    }
  }
  if (Object.keys(settings).length === Object.keys(schema).length) {
    faults.push(...findContradictions(settings as Settings));
  }
  if (faults.length > 0) throw new SluiceError('INVALID_SETTING', faults.join('\n'));
  return Object.freeze(settings as Settings);
}

const flags = (Object.keys(schema) as SettingName[]).map((name) => schema[name].flag);

function findUnknown(
  { env, flags: given }: SettingSources,
  fileValues: Record<string, unknown>,
  faults: string[],
): void {
  for (const flag of Object.keys(given)) {
    if (flag === 'config' || flags.includes(flag)) continue;
    faults.push(`--${flag} is not a setting${suggest(flag, flags, '--')}`);
  }
  const variables = Object.values(schema).map(({ variable }) => variable);
  for (const variable of Object.keys(env)) {
    if (!variable.startsWith('SLUICE_') || variables.includes(variable)) continue;
    if (otherVariables.has(variable) || linkVariable.test(variable)) continue;
    faults.push(`${variable} is not a setting${suggest(variable, variables)}`);
  }
  for (const key of Object.keys(fileValues)) {
    if (!flags.includes(key)) {
      faults.push(`"${key}" in the configuration file is not a setting${suggest(key, flags)}`);
    }
  }
}

function readConfigFile({ flags, env, readFile }: SettingSources, faults: string[]): Record<string, unknown> {
  const path = flags.config ?? env.SLUICE_CONFIG;
  if (path === undefined) return {};
  try {
    const values: unknown = JSON.parse(readFile(String(path)));
    if (typeof values === 'object' && values !== null && !Array.isArray(values)) return { ...values };
    faults.push(`the configuration file ${path} must hold one JSON object`);
  } catch (error) {
    faults.push(
      `the configuration file ${path} can't be read: ${error instanceof Error ? error.message : error}`,
    );
  }
  return {};
}
