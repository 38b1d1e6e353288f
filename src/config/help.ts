import { schema } from './schema.js';

export interface SettingHelp {
  readonly flag: string;
  readonly placeholder: string;
  readonly doc: string;
  readonly variable: string;
  readonly fallbackText: string;
}

/** The table of settings as `serve --help` shows it. */
export function describeSettings(): SettingHelp[] {
  return Object.values(schema).map(({ flag, kind, doc, variable, fallbackText }) => ({
    flag,
    placeholder: kind.placeholder,
    doc,
    variable,
    fallbackText,
  }));
}
