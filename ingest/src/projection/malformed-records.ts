import type { Log } from "@homeostat/schemas";
import { healthFinding, type ReportFinding } from "../health-finding.ts";

/** A topic counts as healthy again when it has been free of malformed records for this long. */
const QUIET_MS = 60_000;

/** There is no dead-letter topic for records: the journal keeps them. One finding a topic says that its table lacks some. */
export class MalformedRecords {
  readonly #options: { host: string; now: () => number; log: Log; reportFinding: ReportFinding };
  /** By topic, so at most as many as there are projections. */
  readonly #episodes = new Map<string, { readonly startedAtUnixMs: number; lastUnixMs: number }>();

  constructor(options: { host: string; now: () => number; log: Log; reportFinding: ReportFinding }) {
    this.#options = options;
  }

  async seen(topic: string, offset: number, reason: string): Promise<void> {
    const now = this.#options.now();
    this.#options.log.error({ topic, offset, reason: reason.slice(0, 500) }, "a record cannot be projected");
    const episode = this.#episodes.get(topic);
    if (episode !== undefined) {
      episode.lastUnixMs = now;
      return;
    }
    this.#episodes.set(topic, { startedAtUnixMs: now, lastUnixMs: now });
    const summary = `The record at offset ${offset} of ${topic} cannot be projected: ${reason.slice(0, 500)}`;
    await this.#report(topic, "firing", now, summary);
  }

  /** Asked whenever good records pass: an episode needs no timer to end. */
  async passed(topic: string): Promise<void> {
    const episode = this.#episodes.get(topic);
    if (episode === undefined || this.#options.now() - episode.lastUnixMs < QUIET_MS) return;
    this.#episodes.delete(topic);
    await this.#report(topic, "resolved", episode.startedAtUnixMs, `The records of ${topic} are well-formed again.`);
  }

  async #report(topic: string, state: "firing" | "resolved", startedAtUnixMs: number, summary: string): Promise<void> {
    const { host, now, log, reportFinding } = this.#options;
    const rule = "ingest_records_malformed";
    const episode = { rule, state, host, subject: topic, startedAtUnixMs, nowUnixMs: now(), summary } as const;
    try {
      await reportFinding(healthFinding(episode));
    } catch (error) {
      log.error({ err: error, topic }, "cannot report malformed records");
    }
  }
}
