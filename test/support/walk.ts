/**
 * A walk is the part of a Markdown page that a test plays: the `console` blocks between `<!-- walk:begin -->` and
 * `<!-- walk:end -->`.
 *
 * - `$ command` is run with bash, all in one shell; `> ` continues it on the next line.
 * - The other lines are its output. `...` stands for any text in a line, and alone for any lines.
 * - `<!-- walk:wait FILE TEXT -->` before a block waits until the file contains the text: what a reader sees for
 *   himself before he types on.
 */

export interface WalkStep {
  /** Of the page, from 1. */
  readonly line: number;
  readonly command: string;
  readonly expectedLines: readonly string[];
  /** To be waited for before the command. */
  readonly waits: readonly { readonly file: string; readonly text: string }[];
}

export function parseWalk(markdown: string): readonly WalkStep[] {
  const parser = new WalkParser();
  let isWalk = false;
  for (const [i, text] of markdown.split('\n').entries()) {
    if (text === '<!-- walk:begin -->') isWalk = true;
    else if (text === '<!-- walk:end -->') isWalk = false;
    else if (isWalk) parser.add(text, i + 1);
  }
  return parser.steps;
}

/** Takes the lines of a walk one by one. */
class WalkParser {
  readonly steps: { line: number; command: string; expectedLines: string[]; waits: WalkStep['waits'] }[] = [];
  #isBlock = false;
  #waits: { file: string; text: string }[] = [];

  add(text: string, line: number): void {
    const wait = /^<!-- walk:wait (\S+) (.+) -->$/.exec(text);
    if (wait !== null) this.#waits.push({ file: wait[1]!, text: wait[2]! });
    else if (text.startsWith('```')) this.#isBlock = text === '```console';
    else if (this.#isBlock) this.#addToBlock(text, line);
  }

  #addToBlock(text: string, line: number): void {
    if (text.startsWith('$ ')) {
      this.steps.push({ line, command: text.slice(2), expectedLines: [], waits: this.#waits });
      this.#waits = [];
    } else if (text.startsWith('> ')) this.steps.at(-1)!.command += `\n${text.slice(2)}`;
    else this.steps.at(-1)!.expectedLines.push(text);
  }
}

/** Whether a command printed what the page says. Blank lines at the end do not count. */
export function matchesOutput(expectedLines: readonly string[], output: string): boolean {
  const patterns = expectedLines.map((line) =>
    line.trim() === '...' ? '(?:[^\\n]*\\n)*' : `${line.split('...').map(escapePattern).join('[^\\n]*')}\\n`,
  );
  const trimmed = output.trimEnd();
  return new RegExp(`^${patterns.join('')}$`).test(trimmed === '' ? '' : `${trimmed}\n`);
}

function escapePattern(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
