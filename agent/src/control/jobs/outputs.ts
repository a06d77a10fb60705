import type { CommandResult } from "@homeostat/schemas";

/** Of all results' output together; beyond, the oldest outputs are let go and said to be. */
const OUTPUT_CHARS_MAX = 33_554_432;
const NO_OUTPUT = { stdout: "", stderr: "" } as const;

interface KeptOutput {
  readonly stdout: string;
  readonly stderr: string;
}

const keyOf = (commandId: string, host: string): string => `${commandId}\n${host}`;

/** Results as they came, with as much of their output as memory allows. */
export class Outputs {
  readonly #results = new Map<string, CommandResult>();
  readonly #outputs = new Map<string, KeptOutput>();
  readonly #elided = new Set<string>();
  #chars = 0;

  keep(result: CommandResult): void {
    const { stdout, stderr, command_id, host } = result;
    const key = keyOf(command_id, host);
    this.drop(command_id, host);
    this.#results.set(key, { ...result, ...NO_OUTPUT });
    const chars = stdout.length + stderr.length;
    if (chars === 0) return;
    this.#outputs.set(key, { stdout, stderr });
    this.#chars += chars;
    for (const [oldest, output] of this.#outputs) {
      if (this.#chars <= OUTPUT_CHARS_MAX) break;
      this.#outputs.delete(oldest);
      this.#elided.add(oldest);
      this.#chars -= output.stdout.length + output.stderr.length;
    }
  }

  get(commandId: string, host: string): { readonly result: CommandResult | null; readonly isElided: boolean } {
    const key = keyOf(commandId, host);
    const result = this.#results.get(key);
    if (result === undefined) return { result: null, isElided: false };
    return { result: { ...result, ...this.#outputs.get(key) }, isElided: this.#elided.has(key) };
  }

  drop(commandId: string, host: string): void {
    const key = keyOf(commandId, host);
    const output = this.#outputs.get(key);
    if (output !== undefined) this.#chars -= output.stdout.length + output.stderr.length;
    this.#outputs.delete(key);
    this.#results.delete(key);
    this.#elided.delete(key);
  }
}
