import { type ChildProcess, spawn } from 'node:child_process';

/** One bash for many commands, as a person has it: variables and background jobs last from one to the next. */
export class Shell {
  readonly #bash: ChildProcess;
  #output = '';
  #onOutput: () => void = () => {};
  #commandCount = 0;
  readonly #ended: Promise<void>;

  constructor(directory: string, env: NodeJS.ProcessEnv) {
    // A group of its own, so that everything it started can be ended with it.
    this.#bash = spawn('bash', ['--norc'], { cwd: directory, env, detached: true });
    this.#ended = new Promise((resolve) => this.#bash.once('close', () => resolve()));
    for (const stream of [this.#bash.stdout!, this.#bash.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text;
        this.#onOutput();
      });
    }
    this.#bash.stdin!.write('exec 2>&1\n');
  }

  /** What the command that runs now has printed so far. */
  get output(): string {
    return this.#output;
  }

  /** Runs a command and resolves with all that it printed, and its exit code. */
  async run(command: string): Promise<{ output: string; code: number }> {
    this.#commandCount += 1;
    const mark = `--- end of command ${this.#commandCount}:`;
    this.#output = '';
    this.#bash.stdin!.write(`${command}\nprintf '\\n%s %d\\n' '${mark}' $?\n`);
    const end = new RegExp(`\\n${mark} (\\d+)\\n`);
    for (;;) {
      const match = end.exec(this.#output);
      if (match !== null) {
        const output = this.#output.slice(0, match.index).replace(jobNotice, '');
        return { output, code: Number(match[1]) };
      }
      await new Promise<void>((resolve, reject) => {
        this.#onOutput = resolve;
        void this.#ended.then(() => reject(new Error(`bash ended during: ${command}\n${this.#output}`)));
      });
    }
  }

  /** Ends it and all that it started. */
  async dispose(): Promise<void> {
    try {
      process.kill(-this.#bash.pid!, 'SIGKILL');
    } catch {
      // The whole group has ended already.
    }
    await this.#ended;
  }
}

/** What bash says when a background job was killed: not output of a command. */
const jobNotice = /^bash: line \d+: +\d+ (Killed|Terminated) .*\n?/gm;
