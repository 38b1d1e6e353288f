const colors: Readonly<Record<string, string>> = { debug: '90', info: '36', warn: '33', error: '31' };

/** `12:34:56.789 INFO  opened the store  directory=./data topics=3`, made from one line of the JSON log. */
export function formatPretty(line: string, hasColors: boolean): string {
  const { level, time, message, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const paint = (code: string, text: string) => (hasColors ? `\u001b[${code}m${text}\u001b[0m` : text);
  const label = String(level);
  const clockTime = String(time).slice(11, 23);
  const head = `${paint('90', clockTime)} ${paint(colors[label] ?? '0', label.toUpperCase().padEnd(5))}`;
  let tail = '';
  let stack = '';
  for (const [name, value] of Object.entries(fields)) {
    if (isError(value)) {
      tail += ` ${paint('90', `${name}=`)}${formatValue(value.message)}`;
      stack += `  ${value.stack.replaceAll('\n', '\n  ')}\n`;
    } else {
      tail += ` ${paint('90', `${name}=`)}${formatValue(value)}`;
    }
  }
  return `${head} ${message}${tail === '' ? '' : ` ${tail}`}\n${stack}`;
}

function formatValue(value: unknown): string {
  if (typeof value === 'string' && /^[^\s"=]+$/.test(value)) return value;
  return JSON.stringify(value);
}

function isError(value: unknown): value is { message: string; stack: string } {
  return typeof value === 'object' && value !== null && 'stack' in value && 'message' in value;
}
