import type { Log } from "@homeostat/schemas";
import { type HealthEpisode, healthFinding, type ReportFinding } from "../health-finding.ts";

/** A finding that lasts is told again this often. */
const REPEAT_MS = 60_000;
/** Open at once, beside those without a subject, which are few; beyond it a trouble has no finding of its own, but is counted like the others. */
const EPISODES_MAX = 200;

type Told = Pick<HealthEpisode, "rule" | "subject" | "summary" | "entityHost"> & {
  readonly labels: Readonly<Record<string, string>>;
};

interface Episode extends Told {
  readonly startedAtUnixMs: number;
  isOver: boolean;
  firingToldAtUnixMs: number;
}

/**
 * The troubles that last, one finding for each: told when it begins, once a minute while it lasts, and when it is over. What cannot be told (the bus
 * itself may be the trouble) is tried again, so that in the end each episode stands on the bus with its beginning and its end.
 */
export class HealthEpisodes {
  readonly #options: { host: string; now: () => number; log: Log; reportFinding: ReportFinding };
  readonly #episodes = new Map<string, Episode>();
  #isTelling = false;

  constructor(options: { host: string; now: () => number; log: Log; reportFinding: ReportFinding }) {
    this.#options = options;
  }

  /** Begins an episode, or says more of one that lasts. */
  fire(told: Told, startedAtUnixMs: number): void {
    const key = `${told.rule}/${told.subject}`;
    const known = this.#episodes.get(key);
    if (known === undefined && told.subject !== "" && this.#episodes.size >= EPISODES_MAX) return;
    if (known === undefined) this.#options.log.warn({ rule: told.rule, ...told.labels }, told.summary);
    this.#episodes.set(key, {
      ...told,
      // A finding is about one thing as long as it lasts.
      ...(known?.entityHost === undefined ? {} : { entityHost: known.entityHost }),
      startedAtUnixMs: known?.startedAtUnixMs ?? startedAtUnixMs,
      isOver: false,
      firingToldAtUnixMs: known?.firingToldAtUnixMs ?? Number.NEGATIVE_INFINITY,
    });
  }

  resolve(rule: Told["rule"], subject: string, summary: string): void {
    const key = `${rule}/${subject}`;
    const known = this.#episodes.get(key);
    if (known === undefined || known.isOver) return;
    this.#options.log.info({ rule, ...known.labels }, summary);
    this.#episodes.set(key, { ...known, summary, isOver: true });
  }

  /** Tells what is due. */
  async tell(): Promise<void> {
    if (this.#isTelling) return;
    this.#isTelling = true;
    try {
      for (const [key, episode] of this.#episodes) await this.#tell(key, episode);
    } finally {
      this.#isTelling = false;
    }
  }

  async #tell(key: string, episode: Episode): Promise<void> {
    const now = this.#options.now();
    const isUntold = episode.firingToldAtUnixMs === Number.NEGATIVE_INFINITY;
    if (isUntold || (!episode.isOver && now - episode.firingToldAtUnixMs >= REPEAT_MS)) {
      if (!(await this.#report(episode, "firing"))) return;
      const newest = this.#episodes.get(key);
      if (newest !== undefined) newest.firingToldAtUnixMs = now;
    }
    const newest = this.#episodes.get(key);
    if (newest?.isOver === true && (await this.#report(newest, "resolved"))) this.#episodes.delete(key);
  }

  async #report(episode: Episode, state: "firing" | "resolved"): Promise<boolean> {
    const { host, now, log, reportFinding } = this.#options;
    try {
      await reportFinding(healthFinding({ ...episode, state, host, nowUnixMs: now() }));
      return true;
    } catch (error) {
      log.debug({ err: error, rule: episode.rule, state }, "a finding cannot be told now");
      return false;
    }
  }
}
