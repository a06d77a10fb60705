import type { HealthEpisodes } from "./health-episodes.ts";
import { SENDER } from "./trouble-entity.ts";

/** Fewer refused records in a minute are stragglers; so are fewer than a tenth of what the sender brings. */
const REFUSED_MIN = 100;
const REFUSED_SHARE_MIN = 0.1;
const WINDOW_MS = 60_000;
/** Senders stand in the configuration; this bounds what syslog networks and tokens can be together. */
const SENDERS_MAX = 1000;

interface Window {
  startedAtUnixMs: number;
  records: number;
  refused: number;
  /** The smallest offset of a refused record's time from the clock: what all of them are wrong by, at least. */
  offsetMs: number;
}

/** Follows which senders bring records with wrong times in bulk, by the minute. */
export class SenderTimes {
  readonly #options: { now: () => number; episodes: HealthEpisodes };
  readonly #windows = new Map<string, Window>();

  constructor(options: { now: () => number; episodes: HealthEpisodes }) {
    this.#options = options;
  }

  /** `offsetMs`: of the refused records, theirs minus ours. */
  note(sender: string, { records, refused, offsetMs }: { records: number; refused: number; offsetMs: number }): void {
    const window = this.#windows.get(sender) ?? this.#begin(sender);
    if (window === null) return;
    window.records += records;
    window.refused += refused;
    if (refused > 0 && (window.offsetMs === 0 || Math.abs(offsetMs) < Math.abs(window.offsetMs)))
      window.offsetMs = offsetMs;
  }

  /** Once a second. */
  check(): void {
    const now = this.#options.now();
    for (const [sender, window] of this.#windows) {
      const isBulk = window.refused >= REFUSED_MIN && window.refused >= window.records * REFUSED_SHARE_MIN;
      if (isBulk) this.#fire(sender, window);
      if (now - window.startedAtUnixMs < WINDOW_MS) continue;
      this.#windows.delete(sender);
      if (!isBulk)
        this.#options.episodes.resolve("sender_time_wrong", sender, `The records of ${sender} have good times again.`);
      else this.#begin(sender);
    }
  }

  #begin(sender: string): Window | null {
    if (this.#windows.size >= SENDERS_MAX) return null;
    const window = { startedAtUnixMs: this.#options.now(), records: 0, refused: 0, offsetMs: 0 };
    this.#windows.set(sender, window);
    return window;
  }

  #fire(sender: string, { refused, offsetMs, startedAtUnixMs }: Window): void {
    const seconds = Math.round(offsetMs / 1000);
    const way = offsetMs > 0 ? "in the future" : "in the past";
    const summary = `${refused} records of ${sender} were refused for their time within a minute: the nearest is ${Math.abs(seconds)} s ${way}.`;
    const labels = { sender, offset_s: String(seconds) };
    const told = {
      rule: "sender_time_wrong",
      subject: sender,
      summary,
      labels,
      entityHost: `${SENDER}${sender}`,
    } as const;
    this.#options.episodes.fire(told, startedAtUnixMs);
  }
}
