import { BusError, type Log } from "@homeostat/schemas";
import { type HealthEpisode, healthFinding, type ReportFinding } from "./health-finding.ts";

/** Shorter troubles are everyday: a restart of the engine, a burst of parts. */
const REPORT_AFTER_MS = 10_000;

export interface StoreHealthOptions {
  readonly host: string;
  readonly now: () => number;
  readonly log: Log;
  readonly reportFinding: ReportFinding;
}

/**
 * Follows which partitions cannot be written, because of the store or of the bus, and tells once when that lasts and once when it is over. What
 * cannot be told meanwhile (the bus may be the trouble) is told when it is over.
 */
export class StoreHealth {
  readonly #options: StoreHealthOptions;
  /** By partition, so at most as many as are assigned. */
  readonly #failing = new Map<string, string>();
  #sinceUnixMs = 0;
  #rule: HealthEpisode["rule"] = "ingest_store_failing";
  /** What lasts long enough to be told; null while it does not. */
  #summary: string | null = null;
  #isReported = false;

  constructor(options: StoreHealthOptions) {
    this.#options = options;
  }

  get failing(): { readonly sinceUnixMs: number; readonly error: string } | null {
    const [error] = this.#failing.values();
    return error === undefined ? null : { sinceUnixMs: this.#sinceUnixMs, error };
  }

  /** So that a long back-off does not delay the report. */
  get msUntilReport(): number {
    if (this.#failing.size === 0 || this.#isReported) return Number.POSITIVE_INFINITY;
    return Math.max(1, this.#sinceUnixMs + REPORT_AFTER_MS - this.#options.now());
  }

  async failed(at: string, error: Error): Promise<void> {
    const now = this.#options.now();
    if (this.#failing.size === 0) {
      this.#sinceUnixMs = now;
      this.#rule = error instanceof BusError ? "ingest_bus_failing" : "ingest_store_failing";
    }
    this.#failing.set(at, error.message);
    if (this.#isReported || now - this.#sinceUnixMs < REPORT_AFTER_MS) return;
    const seconds = Math.round((now - this.#sinceUnixMs) / 1000);
    this.#summary = `Nothing of ${at} has been written for ${seconds} s; it waits on the bus: ${error.message}`;
    this.#isReported = await this.#report("firing", this.#summary);
  }

  async worked(at: string): Promise<void> {
    if (!this.#failing.delete(at) || this.#failing.size > 0 || this.#summary === null) return;
    const [summary, isReported] = [this.#summary, this.#isReported];
    this.#summary = null;
    this.#isReported = false;
    if (!isReported) await this.#report("firing", summary);
    await this.#report("resolved", "Telemetry is written again.");
  }

  async #report(state: "firing" | "resolved", summary: string): Promise<boolean> {
    const { host, now, log, reportFinding } = this.#options;
    const finding = healthFinding({
      rule: this.#rule,
      state,
      host,
      subject: "",
      startedAtUnixMs: this.#sinceUnixMs,
      nowUnixMs: now(),
      summary,
    });
    log[state === "firing" ? "error" : "info"]({ finding_id: finding.finding_id }, summary);
    try {
      await reportFinding(finding);
      return true;
    } catch (error) {
      // The status and the log still say it; failing to tell must not stop the retrying.
      log.error({ err: error, finding_id: finding.finding_id }, "cannot report the state of the store");
      return false;
    }
  }
}
