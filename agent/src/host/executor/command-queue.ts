import type { Command } from "@homeostat/schemas";
import type { Prepared } from "./executor.ts";

export interface Waiting {
  readonly command: Command;
  readonly prepared: Prepared;
}

/** Decides whose turn it is: in the order of arrival, no two on one target at a time, and no more than so many at all. */
export class CommandQueue {
  readonly #concurrentMax: number;
  readonly #begin: (waiting: Waiting) => void;
  /** Targets that are taken, with those that wait for them. */
  readonly #behind = new Map<string, Waiting[]>();
  #ready: Waiting[] = [];
  readonly #waiting = new Set<string>();
  #running = 0;

  constructor(options: { concurrentMax: number; begin: (waiting: Waiting) => void }) {
    this.#concurrentMax = options.concurrentMax;
    this.#begin = options.begin;
  }

  /** How many wait. */
  get length(): number {
    return this.#waiting.size;
  }

  /** Whether it may begin at once; then it has begun. */
  tryBegin({ prepared }: Waiting): boolean {
    if (this.#running >= this.#concurrentMax || this.#behind.has(prepared.target)) return false;
    this.#behind.set(prepared.target, []);
    this.#running += 1;
    return true;
  }

  /** `begin` is called when its turn comes, at once if that is now. */
  add(waiting: Waiting): void {
    const behind = this.#behind.get(waiting.prepared.target);
    this.#waiting.add(waiting.command.signed.grant.command_id);
    if (behind !== undefined) {
      behind.push(waiting);
      return;
    }
    this.#behind.set(waiting.prepared.target, []);
    this.#ready.push(waiting);
    this.#beginReady();
  }

  /** Its turn never comes. False when it does not wait. */
  cancel(commandId: string): boolean {
    return this.#waiting.delete(commandId);
  }

  /** What has begun on this target has ended. */
  ended(target: string): void {
    this.#running -= 1;
    this.#release(target);
    this.#beginReady();
  }

  clear(): void {
    this.#waiting.clear();
    this.#ready = [];
    for (const behind of this.#behind.values()) behind.length = 0;
  }

  #release(target: string): void {
    const next = this.#behind.get(target)?.shift();
    if (next === undefined) this.#behind.delete(target);
    else this.#ready.push(next);
  }

  #beginReady(): void {
    while (this.#running < this.#concurrentMax) {
      const next = this.#ready.shift();
      if (next === undefined) return;
      if (!this.#waiting.delete(next.command.signed.grant.command_id)) {
        this.#release(next.prepared.target);
        continue;
      }
      this.#running += 1;
      this.#begin(next);
    }
  }
}
