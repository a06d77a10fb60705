import type { Log } from "@homeostat/schemas";
import { HealthEpisodes } from "../gateway/health-episodes.ts";
import type { HealthEpisode, ReportFinding } from "../health-finding.ts";
import type { DeadReason } from "../ingest-counts.ts";
import type { Decision } from "./triage.ts";

/** A trouble is over when it has not shown for this long. */
const QUIET_MS = 300_000;
/** Rows outside the fences are everyday; so many from one sender, in one episode, are a clock or a backlog gone wrong. */
const OUTSIDE_ROWS_MIN = 1000;
/** Senders in trouble at once, each with a rule; those beyond are counted in the ledger and the dead letters alone. */
const TROUBLES_MAX = 200;

type Rule = Extract<HealthEpisode["rule"], `telemetry_${string}`>;

const RULE_OF: Readonly<Record<DeadReason, Rule>> = {
  malformed: "telemetry_malformed",
  wrong_schema: "telemetry_malformed",
  refused: "telemetry_refused",
  late: "telemetry_outside_fences",
  future: "telemetry_outside_fences",
};

interface Trouble {
  readonly rule: Rule;
  readonly topic: string;
  readonly from: string;
  readonly first: string;
  readonly startedAtUnixMs: number;
  lastUnixMs: number;
  batches: number;
  rows: number;
}

const WORDS: Readonly<Record<Rule, string>> = {
  telemetry_malformed: "cannot be read and went to the dead letters",
  telemetry_refused: "were refused by the store and went to the dead letters",
  telemetry_outside_fences: "are late or from the future and went to the dead letters",
  telemetry_expired: "were taken by the bus's retention before they were read: they are lost",
};

/** What goes wrong with telemetry itself, as findings: told at once, at most once a minute while it lasts, and when it has been over for a while. */
export class TelemetryTroubles {
  readonly #now: () => number;
  readonly #episodes: HealthEpisodes;
  readonly #troubles = new Map<string, Trouble>();

  constructor(options: { host: string; now: () => number; log: Log; reportFinding: ReportFinding }) {
    this.#now = options.now;
    this.#episodes = new HealthEpisodes(options);
  }

  /** What became of a range. */
  seen(topic: string, decisions: readonly Decision[]): void {
    for (const each of decisions) {
      if (each.kind !== "dead") continue;
      const from = each.header?.producer ?? each.message.key ?? "";
      const rule = RULE_OF[each.reason];
      const first = `offset ${each.message.offset}: ${each.reason}: ${each.detail}`;
      this.#note({ rule, topic, from, first, batches: 1, rows: each.header?.row_count ?? 0 });
    }
    void this.tell();
  }

  expired(topic: string, partition: number, messages: number): void {
    this.#note({
      rule: "telemetry_expired",
      topic,
      from: `partition ${partition}`,
      first: "",
      batches: messages,
      rows: 0,
    });
    void this.tell();
  }

  /** Tells what is due; asked now and then, for a trouble ends by not showing. */
  async tell(): Promise<void> {
    const now = this.#now();
    for (const [key, trouble] of this.#troubles) {
      if (now - trouble.lastUnixMs < QUIET_MS) continue;
      this.#troubles.delete(key);
      const summary = `No more of it for ${QUIET_MS / 60_000} minutes. ${summaryOf(trouble)}`;
      this.#episodes.resolve(trouble.rule, subjectOf(trouble), summary);
    }
    await this.#episodes.tell();
  }

  #note(seen: Omit<Trouble, "startedAtUnixMs" | "lastUnixMs">): void {
    const key = `${seen.rule}/${subjectOf(seen)}`;
    const known = this.#troubles.get(key);
    if (known === undefined && this.#troubles.size >= TROUBLES_MAX) return;
    const now = this.#now();
    const trouble = known ?? { ...seen, batches: 0, rows: 0, startedAtUnixMs: now, lastUnixMs: now };
    trouble.lastUnixMs = now;
    trouble.batches += seen.batches;
    trouble.rows += seen.rows;
    this.#troubles.set(key, trouble);
    if (trouble.rule === "telemetry_outside_fences" && trouble.rows < OUTSIDE_ROWS_MIN) return;
    const { rule, topic, from, batches, rows, startedAtUnixMs } = trouble;
    const labels = { topic, from, batches: String(batches), rows: String(rows) };
    this.#episodes.fire({ rule, subject: subjectOf(trouble), summary: summaryOf(trouble), labels }, startedAtUnixMs);
  }
}

const subjectOf = ({ topic, from }: Pick<Trouble, "topic" | "from">): string => `${topic}/${from}`;

const summaryOf = ({ rule, topic, from, first, batches, rows }: Trouble): string => {
  const rest = first === "" ? "" : ` The first: ${first}`;
  return `${batches} messages (${rows} rows) on ${topic} from ${from} ${WORDS[rule]}.${rest}`.slice(0, 1000);
};
