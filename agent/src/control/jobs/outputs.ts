import type { CommandResult } from "@homeostat/schemas";

/** Of all results' output together; beyond, the oldest outputs are let go and said to be. */
const OUTPUT_CHARS_MAX = 33_554_432;
const NO_OUTPUT = { stdout: "", stderr: "" } as const;

const keyOf = (commandId: string, host: string): string => `${commandId}\n${host}`;

/** Results as they came, with as much of their output as memory allows. */
export class Outputs {
  readonly #results = new Map<string, CommandResult>();
  /** Characters, of those that have any: the oldest first. */
  readonly #sizes = new Map<string, number>();
  readonly #elided = new Set<string>();
  #chars = 0;

  keep(result: CommandResult): void {
    const { stdout, stderr, command_id, host } = result;
    const key = keyOf(command_id, host);
    if (this.#results.has(key)) this.#drop(key);
    this.#results.set(key, result);
    const chars = stdout.length + stderr.length;
    if (chars === 0) return;
    this.#sizes.set(key, chars);
    this.#chars += chars;
    for (const oldest of this.#sizes.keys()) {
      if (this.#chars <= OUTPUT_CHARS_MAX) break;
      this.#elide(oldest);
    }
  }

  get(commandId: string, host: string): { readonly result: CommandResult | null; readonly isElided: boolean } {
    const key = keyOf(commandId, host);
    return { result: this.#results.get(key) ?? null, isElided: this.#elided.has(key) };
  }

  drop(commandId: string, host: string): void {
    this.#drop(keyOf(commandId, host));
  }

  #elide(key: string): void {
    const result = this.#results.get(key);
    this.#chars -= this.#sizes.get(key) ?? 0;
    this.#sizes.delete(key);
    this.#elided.add(key);
    if (result !== undefined) this.#results.set(key, { ...result, ...NO_OUTPUT });
  }

  #drop(key: string): void {
    this.#chars -= this.#sizes.get(key) ?? 0;
    this.#sizes.delete(key);
    this.#results.delete(key);
    this.#elided.delete(key);
  }
}
