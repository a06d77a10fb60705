import type { Log } from "@homeostat/schemas";
import type { Collector } from "./collector.ts";

/** Above this a plugin's collectors are not taken. */
export const COLLECTORS_MAX = 128;

/** Calls each collector as often as it wants to be called. What one of them throws is a problem of the host, and of no other collector. */
export class CollectorSchedule {
  readonly #entries = new Map<string, { readonly collector: Collector; nextAtMs: number }>();
  readonly #problems = new Map<string, string>();
  readonly #log: Log;
  #slowdown = 1;
  #costly: ReadonlySet<string> = new Set();

  constructor(log: Log) {
    this.#log = log;
  }

  /** @throws RangeError when the name is taken, or there is no room. */
  add(collector: Collector): void {
    if (this.#entries.has(collector.name)) throw new RangeError(`a collector named ${collector.name} is there already`);
    if (this.#entries.size >= COLLECTORS_MAX)
      throw new RangeError(`no room for ${collector.name}: ${COLLECTORS_MAX} collectors are there`);
    this.#entries.set(collector.name, { collector, nextAtMs: 0 });
  }

  remove(name: string): void {
    this.#entries.get(name)?.collector.close?.();
    this.#entries.delete(name);
    this.#problems.delete(name);
  }

  /** From now on those that are costly are called so many times less often. */
  slowBy(times: number, costly: readonly string[]): void {
    if (times === this.#slowdown) return;
    this.#slowdown = times;
    this.#costly = new Set(costly);
  }

  names(): string[] {
    return [...this.#entries.keys()];
  }

  /** `tickMs`: how often this is called; half a tick early is on time, since timers are never exact. */
  tick(at: { nowUnixMs: number; monotonicMs: number; tickMs: number }): void {
    for (const entry of this.#entries.values()) {
      if (at.monotonicMs < entry.nextAtMs - at.tickMs / 2) continue;
      entry.nextAtMs = at.monotonicMs + this.#pauseOf(entry.collector, at.tickMs);
      this.#collect(entry.collector, at.nowUnixMs);
    }
  }

  /** Something of this tick is recorded a little later. */
  get isPending(): boolean {
    for (const { collector } of this.#entries.values()) if (collector.isPending === true) return true;
    return false;
  }

  problems(): string[] {
    return [...this.#problems].map(([name, problem]) => `collector ${name}: ${problem}`);
  }

  close(): void {
    for (const { collector } of this.#entries.values()) collector.close?.();
  }

  #pauseOf({ name, everyMs }: Collector, tickMs: number): number {
    return this.#slowdown > 1 && this.#costly.has(name) ? Math.max(everyMs, tickMs) * this.#slowdown : everyMs;
  }

  #collect(collector: Collector, nowUnixMs: number): void {
    try {
      collector.collect(nowUnixMs);
      this.#problems.delete(collector.name);
    } catch (error) {
      if (!this.#problems.has(collector.name))
        this.#log.error({ collector: collector.name, error: String(error) }, "a collector failed");
      this.#problems.set(collector.name, String(error));
    }
  }
}
