import type { Finding } from "@homeostat/schemas";
import { z } from "zod";
import { announce, type Episodes, findingId, isDue, resolve, SavedEpisodes } from "../episode.ts";

const CLEAR_MS = 600_000;

const SavedCap = z.strictObject({ last_refused_at_unix_ms: z.number(), refused: z.number(), episodes: SavedEpisodes });

/** What is refused because a cap is reached is not watched: this says so, once for a partition. */
export class Cap {
  readonly #rule: string;
  readonly #what: string;
  readonly #max: number;
  readonly #episodes: Episodes = new Map();
  #refused = 0;
  #lastRefusedAt = 0;
  #host = "";

  constructor({ rule, what, max }: { readonly rule: string; readonly what: string; readonly max: number }) {
    this.#rule = rule;
    this.#what = what;
    this.#max = max;
  }

  get refused(): number {
    return this.#refused;
  }

  refuse(host: string, nowUnixMs: number): void {
    this.#refused++;
    this.#lastRefusedAt = nowUnixMs;
    this.#host = host.slice(0, 255) || "unknown";
  }

  tick(nowUnixMs: number): readonly Finding[] {
    if (this.#refused === 0) return [];
    if (nowUnixMs - this.#lastRefusedAt >= CLEAR_MS) {
      this.#refused = 0;
      return resolve(this.#episodes, 0, { summary: `All ${this.#what} are watched again.` });
    }
    if (!isDue(this.#episodes, 0, { severity: "warning", nowUnixMs })) return [];
    return [announce(this.#episodes, 0, this.#finding(nowUnixMs), nowUnixMs)];
  }

  #finding(nowUnixMs: number): Finding {
    const known = this.#episodes.get(0)?.finding;
    const started = known?.started_at_unix_ms ?? this.#lastRefusedAt;
    const entity = known?.entity ?? { host: this.#host };
    return {
      finding_id: findingId({ rule: this.#rule, entity, subject: "", startedUnixMs: started }),
      detector: "runner",
      rule: this.#rule,
      state: "firing",
      severity: "warning",
      category: "data_health",
      entity,
      started_at_unix_ms: started,
      detected_at_unix_ms: nowUnixMs,
      value: this.#refused,
      unit: "1",
      expected: { low: null, high: 0 },
      summary: `More than ${this.#max} ${this.#what} on one partition: those beyond are not watched (last refused: ${this.#host}).`,
      labels: {},
      evidence: [],
    };
  }

  save(): z.input<typeof SavedCap> {
    return {
      last_refused_at_unix_ms: this.#lastRefusedAt,
      refused: this.#refused,
      episodes: [...this.#episodes],
    };
  }

  load(json: unknown): void {
    const saved = SavedCap.parse(json);
    this.#lastRefusedAt = saved.last_refused_at_unix_ms;
    this.#refused = saved.refused;
    for (const [slot, episode] of saved.episodes) this.#episodes.set(slot, episode);
  }
}
