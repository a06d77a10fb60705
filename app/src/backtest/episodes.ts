import type { Entity, Finding, Severity } from "@homeostat/schemas";

/** One episode as a rule would have told it. */
export interface Episode {
  readonly finding_id: string;
  readonly rule: string;
  readonly entity: Entity;
  readonly severity: Severity;
  readonly started_at_unix_ms: number;
  readonly detected_at_unix_ms: number;
  /** null: it was still firing at the end. */
  readonly resolved_at_unix_ms: number | null;
  /** As it was first told. */
  readonly summary: string;
}

const RANKS: Readonly<Record<Severity, number>> = { info: 0, warning: 1, critical: 2 };

/** More than a person reads; beyond it episodes are counted and not kept. */
export const EPISODES_MAX = 10_000;

/** Findings, told again and again, as episodes: the first telling, the worst severity and the end. */
export class EpisodeBook {
  readonly #episodes = new Map<string, Episode>();
  readonly #beyond = new Set<string>();

  add(finding: Finding, atUnixMs: number): void {
    const { finding_id, state, severity } = finding;
    const known = this.#episodes.get(finding_id);
    if (state === "no_data") return;
    if (state === "resolved") {
      if (known !== undefined) this.#episodes.set(finding_id, { ...known, resolved_at_unix_ms: atUnixMs });
    } else if (known !== undefined) {
      const worse = RANKS[severity] > RANKS[known.severity] ? severity : known.severity;
      this.#episodes.set(finding_id, { ...known, severity: worse, resolved_at_unix_ms: null });
    } else if (this.#episodes.size < EPISODES_MAX) this.#episodes.set(finding_id, firstTold(finding));
    // Counted as far as they can be told apart without keeping more and more of them.
    else if (this.#beyond.size < EPISODES_MAX) this.#beyond.add(finding_id);
  }

  get beyond(): number {
    return this.#beyond.size;
  }

  /** Those that had not ended before a moment, by their beginning. */
  since(fromUnixMs: number): readonly Episode[] {
    return [...this.#episodes.values()]
      .filter(({ resolved_at_unix_ms }) => resolved_at_unix_ms === null || resolved_at_unix_ms > fromUnixMs)
      .sort((a, b) => a.started_at_unix_ms - b.started_at_unix_ms);
  }
}

const firstTold = (finding: Finding): Episode => {
  const { finding_id, rule, entity, severity, started_at_unix_ms, detected_at_unix_ms, summary } = finding;
  const what = { finding_id, rule, entity, severity, started_at_unix_ms, detected_at_unix_ms, summary };
  return { ...what, resolved_at_unix_ms: null };
};

const DAY_MS = 86_400_000;
const dayOf = (unixMs: number): string => new Date(unixMs).toISOString().slice(0, 10);

/** Every day (UTC) of the range with how many episodes were detected on it. */
export const countByDay = (
  episodes: readonly Episode[],
  { fromUnixMs, toUnixMs }: { readonly fromUnixMs: number; readonly toUnixMs: number },
): Readonly<Record<string, number>> => {
  const counts: Record<string, number> = {};
  for (let at = Math.floor(fromUnixMs / DAY_MS) * DAY_MS; at < toUnixMs; at += DAY_MS) counts[dayOf(at)] = 0;
  for (const { detected_at_unix_ms } of episodes) {
    const day = dayOf(detected_at_unix_ms);
    counts[day] = (counts[day] ?? 0) + 1;
  }
  return counts;
};
