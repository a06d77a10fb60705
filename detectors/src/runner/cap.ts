import type { Finding } from "@homeostat/schemas";
import { z } from "zod";
import { announce, clip, type Episodes, findingId, isDue, resolve, resolved, SavedEpisodes } from "../episode.ts";

const CLEAR_MS = 600_000;

/** Names that are counted among those refused: enough to find the one that explodes. */
const NAMES_MAX = 8;

const SavedCap = z.strictObject({
  last_refused_at_unix_ms: z.number(),
  refused: z.number(),
  names: z.array(z.tuple([z.string(), z.number()])).max(NAMES_MAX),
  episodes: SavedEpisodes,
});

/** Takes back what a saved cap has announced: its rule is gone, so nothing is refused for it any more. */
export const orphansOfCap = (json: unknown, rule: string): readonly Finding[] =>
  SavedCap.parse(json).episodes.map(([, { finding }]) =>
    resolved(finding, { summary: `Rule ${rule} has changed or is gone.` }),
  );

export interface CapOptions {
  readonly rule: string;
  /** Tells two caps of one rule apart. */
  readonly subject?: string;
  /** "series", "log streams". */
  readonly what: string;
  readonly max: number;
}

/** What is refused because a cap is reached is not watched: this says so, once for a partition. */
export class Cap {
  readonly #options: CapOptions;
  readonly #episodes: Episodes = new Map();
  /** The names that were refused most often, by the algorithm of Misra and Gries (1982): bounded, and who has an eighth of all is in it. */
  readonly #names = new Map<string, number>();
  #refused = 0;
  #lastRefusedAt = 0;
  #host = "";

  constructor(options: CapOptions) {
    this.#options = options;
  }

  get refused(): number {
    return this.#refused;
  }

  /** `name` is what there may be too many of: a metric. */
  refuse(host: string, nowUnixMs: number, name = ""): void {
    this.#refused++;
    this.#lastRefusedAt = nowUnixMs;
    this.#host = host.slice(0, 255) || "unknown";
    if (name !== "") this.#count(name);
  }

  /** So many subjects are known and still not watched: what was announced of them is not over because no further one comes. */
  hold(count: number, host: string, nowUnixMs: number): void {
    this.#refused = count;
    this.#lastRefusedAt = nowUnixMs;
    this.#host = host.slice(0, 255) || "unknown";
  }

  #count(name: string): void {
    const known = this.#names.get(name);
    if (known !== undefined || this.#names.size < NAMES_MAX) {
      this.#names.set(name, (known ?? 0) + 1);
      return;
    }
    for (const [other, count] of this.#names) {
      if (count === 1) this.#names.delete(other);
      else this.#names.set(other, count - 1);
    }
  }

  tick(nowUnixMs: number): readonly Finding[] {
    if (this.#refused === 0) return [];
    if (nowUnixMs - this.#lastRefusedAt >= CLEAR_MS) {
      this.#refused = 0;
      this.#names.clear();
      return resolve(this.#episodes, 0, { summary: `All ${this.#options.what} are watched again.` });
    }
    if (!isDue(this.#episodes, 0, { severity: "warning", nowUnixMs })) return [];
    return [announce(this.#episodes, 0, this.#finding(nowUnixMs), nowUnixMs)];
  }

  #finding(nowUnixMs: number): Finding {
    const { rule, subject = "", what, max } = this.#options;
    const known = this.#episodes.get(0)?.finding;
    const started = known?.started_at_unix_ms ?? this.#lastRefusedAt;
    const entity = known?.entity ?? { host: this.#host };
    const [most] = [...this.#names].sort(([, a], [, b]) => b - a);
    const culprit = most === undefined ? "" : `; most of them are of ${clip(most[0], 255)}`;
    return {
      finding_id: findingId({ rule, entity, subject, startedUnixMs: started }),
      detector: "runner",
      rule,
      state: "firing",
      severity: "warning",
      category: "data_health",
      entity,
      started_at_unix_ms: started,
      detected_at_unix_ms: nowUnixMs,
      value: this.#refused,
      unit: "1",
      expected: { low: null, high: 0 },
      summary: `More than ${max} ${what} on one partition: those beyond are not watched (last refused: ${this.#host}${culprit}).`,
      labels: most === undefined ? {} : { metric: clip(most[0], 1000) },
      evidence: [],
    };
  }

  save(): z.input<typeof SavedCap> {
    return {
      last_refused_at_unix_ms: this.#lastRefusedAt,
      refused: this.#refused,
      names: [...this.#names],
      episodes: [...this.#episodes],
    };
  }

  load(json: unknown): void {
    const saved = SavedCap.parse(json);
    this.#lastRefusedAt = saved.last_refused_at_unix_ms;
    this.#refused = saved.refused;
    for (const [name, count] of saved.names) this.#names.set(name, count);
    for (const [slot, episode] of saved.episodes) {
      this.#episodes.set(slot, episode);
      this.#host = episode.finding.entity.host;
    }
  }
}
