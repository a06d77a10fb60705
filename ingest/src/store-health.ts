import type { Log } from "@homeostat/schemas";
import { healthFinding, type ReportFinding } from "./health-finding.ts";

/** Shorter troubles are everyday: a restart of the engine, a burst of parts. */
const REPORT_AFTER_MS = 10_000;

export interface StoreHealthOptions {
  readonly host: string;
  readonly now: () => number;
  readonly log: Log;
  readonly reportFinding: ReportFinding;
}

/** Follows which partitions cannot be written, and tells once when that lasts and once when it is over. */
export class StoreHealth {
  readonly #options: StoreHealthOptions;
  /** By partition, so at most as many as are assigned. */
  readonly #failing = new Map<string, string>();
  #sinceUnixMs = 0;
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
    if (this.#failing.size === 0) this.#sinceUnixMs = now;
    this.#failing.set(at, error.message);
    if (this.#isReported || now - this.#sinceUnixMs < REPORT_AFTER_MS) return;
    this.#isReported = true;
    const seconds = Math.round((now - this.#sinceUnixMs) / 1000);
    await this.#report(
      "firing",
      `Nothing of ${at} has been written for ${seconds} s; it waits on the bus: ${error.message}`,
    );
  }

  async worked(at: string): Promise<void> {
    if (!this.#failing.delete(at) || this.#failing.size > 0 || !this.#isReported) return;
    this.#isReported = false;
    await this.#report("resolved", "The store takes telemetry again.");
  }

  async #report(state: "firing" | "resolved", summary: string): Promise<void> {
    const { host, now, log, reportFinding } = this.#options;
    const finding = healthFinding({
      rule: "ingest_store_failing",
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
    } catch (error) {
      // The status and the log still say it; failing to tell must not stop the retrying.
      log.error({ err: error, finding_id: finding.finding_id }, "cannot report the state of the store");
    }
  }
}
