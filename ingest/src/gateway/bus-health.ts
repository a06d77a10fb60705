import type { Log } from "@homeostat/schemas";
import type { HealthEpisodes } from "./health-episodes.ts";

/** Shorter troubles are everyday: a broker that restarts, a leader that moves. */
const REPORT_AFTER_MS = 10_000;

/** Follows which lanes the bus does not take batches of. */
export class BusHealth {
  readonly #options: { now: () => number; log: Log; episodes: HealthEpisodes };
  /** By lane and topic. */
  readonly #failing = new Map<string, string>();
  #sinceUnixMs = 0;

  constructor(options: { now: () => number; log: Log; episodes: HealthEpisodes }) {
    this.#options = options;
  }

  get failing(): { readonly sinceUnixMs: number; readonly error: string } | null {
    const [error] = this.#failing.values();
    return error === undefined ? null : { sinceUnixMs: this.#sinceUnixMs, error };
  }

  failed(at: string, error: Error): void {
    if (this.#failing.size === 0) {
      this.#sinceUnixMs = this.#options.now();
      this.#options.log.warn({ at, error: error.message }, "the bus does not take batches, they wait");
    }
    this.#failing.set(at, error.message);
  }

  worked(at: string): void {
    if (!this.#failing.delete(at) || this.#failing.size > 0) return;
    this.#options.episodes.resolve("gateway_bus_failing", "", "The bus takes the gateway's batches again.");
  }

  refused(at: string, error: unknown): void {
    this.#options.log.error({ at, err: error }, "the bus refuses batches for good, their senders are told");
    this.worked(at);
  }

  /** Once a second. */
  check(): void {
    const seconds = Math.round((this.#options.now() - this.#sinceUnixMs) / 1000);
    if (this.#failing.size === 0 || seconds * 1000 < REPORT_AFTER_MS) return;
    const [[at, error] = ["", ""]] = this.#failing;
    const summary = `The bus has not taken the gateway's batches of ${at} for ${seconds} s; senders are told to come back: ${error}`;
    this.#options.episodes.fire({ rule: "gateway_bus_failing", subject: "", summary, labels: {} }, this.#sinceUnixMs);
  }
}
