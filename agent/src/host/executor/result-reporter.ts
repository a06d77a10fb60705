import { setTimeout as delay } from "node:timers/promises";
import type { CommandResult, Log } from "@homeostat/schemas";
import type { DoneEntry } from "./journal.ts";

/** Results that are on their way at the same time. */
const AT_ONCE_MAX = 64;
const RETRY_MS_MIN = 200;
const RETRY_MS_MAX = 15_000;

/** Tells each result for as long as it takes, many at a time. How many wait is bounded by the journal, which holds them all. */
export class ResultReporter {
  readonly #publish: (result: CommandResult) => Promise<void>;
  readonly #onReported: (commandId: string, entry: DoneEntry) => void;
  readonly #log: Log;
  readonly #pending = new Map<string, DoneEntry>();
  readonly #underWay = new Map<string, Promise<void>>();
  readonly #stopping = new AbortController();
  #failures = 0;
  #isWaiting = false;

  constructor(options: {
    publish: (result: CommandResult) => Promise<void>;
    onReported: (commandId: string, entry: DoneEntry) => void;
    log: Log;
  }) {
    this.#publish = options.publish;
    this.#onReported = options.onReported;
    this.#log = options.log;
  }

  /** Returns what waited to be told of it, and is not told any more. */
  report(commandId: string, entry: DoneEntry): DoneEntry | null {
    const replaced = this.#pending.get(commandId) ?? null;
    this.#pending.set(commandId, entry);
    this.#next();
    return replaced;
  }

  /** Waits for what is under way, until the deadline; the next agent tells the rest. */
  async stop(deadline: Promise<unknown>): Promise<void> {
    this.#stopping.abort();
    await Promise.race([Promise.all(this.#underWay.values()), deadline]);
  }

  /** Resolves when nothing is left to be told. */
  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.race(this.#underWay.values());
  }

  #next(): void {
    if (this.#isWaiting || this.#stopping.signal.aborted) return;
    for (const [commandId, entry] of this.#pending) {
      if (this.#underWay.size >= AT_ONCE_MAX) return;
      // Asked for again while it is told: then it is told again, after that.
      if (this.#underWay.has(commandId)) continue;
      this.#pending.delete(commandId);
      this.#underWay.set(commandId, this.#tell(commandId, entry));
    }
  }

  async #tell(commandId: string, entry: DoneEntry): Promise<void> {
    // Never within the call that begins it, whatever publishing does.
    await null;
    try {
      await this.#publish(entry.result);
      this.#failures = 0;
      this.#onReported(commandId, entry);
    } catch (error) {
      if (!this.#pending.has(commandId)) this.#pending.set(commandId, entry);
      this.#wait(error);
    } finally {
      this.#underWay.delete(commandId);
      this.#next();
    }
  }

  #wait(error: unknown): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    if (this.#failures === 0)
      this.#log.warn({ error: String(error) }, "cannot report the result of a command; trying again");
    const waitMs = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(this.#failures++, 10));
    const again = () => {
      this.#isWaiting = false;
      this.#next();
    };
    delay(waitMs, undefined, { signal: this.#stopping.signal }).then(again, again);
  }
}
