import type { ExecutionInput } from "./executor.ts";

/** What is typed before anybody listens is kept up to here, then dropped. */
const EARLY_BYTES_MAX = 65_536;

/** Brings what is typed, and the size of the terminal, to a running command. */
export class CommandInput implements ExecutionInput {
  #early: Buffer[] = [];
  #earlyBytes = 0;
  #size: readonly [number, number] | null = null;
  #data: ((data: Buffer) => void) | null = null;
  #resized: ((columns: number, rows: number) => void) | null = null;

  onData(listener: (data: Buffer) => void): void {
    this.#data = listener;
    const early = this.#early;
    this.#early = [];
    for (const data of early) listener(data);
  }

  onResize(listener: (columns: number, rows: number) => void): void {
    this.#resized = listener;
    if (this.#size !== null) listener(...this.#size);
  }

  type(data: Buffer): void {
    if (this.#data !== null) {
      this.#data(data);
      return;
    }
    if (this.#earlyBytes + data.length > EARLY_BYTES_MAX) return;
    this.#early.push(data);
    this.#earlyBytes += data.length;
  }

  resize(columns: number, rows: number): void {
    this.#size = [columns, rows];
    this.#resized?.(columns, rows);
  }
}
