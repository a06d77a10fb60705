import { type Facts, type Finding, IncidentRecord, RemediationRecord, type Step } from "@homeostat/schemas";
import { RemediationConfig } from "../config.ts";
import { advance } from "../engine/advance.ts";
import { type Draft, emptyWorld, type MutableWorld } from "../engine/draft.ts";
import type { Context, EngineEvent } from "../engine/event.ts";
import { type Effect, owed } from "../engine/owed.ts";

export const START = 1_800_000_000_000;

export const someFinding = (changes: Partial<Finding> = {}): Finding => ({
  finding_id: "f1",
  detector: "threshold",
  rule: "service-down",
  state: "firing",
  severity: "critical",
  category: "symptom",
  entity: { host: "a", service: "shop" },
  started_at_unix_ms: START,
  detected_at_unix_ms: START,
  value: 0,
  unit: "1",
  expected: null,
  summary: "the service is down",
  labels: { metric: "homeostat.service.up" },
  evidence: [],
  ...changes,
});

/** The engine's middle with a journal in memory, for tests: no bus, no clock, no effects but those that a test plays. */
export class PureEngine {
  now = START;
  world: MutableWorld = emptyWorld();
  readonly journal: (IncidentRecord | RemediationRecord)[] = [];
  readonly #config: RemediationConfig;
  #leaderSince = START;
  #ids = 0;

  constructor(config: unknown = { guards: { start_up_grace_ms: 0 } }) {
    this.#config = RemediationConfig.parse(config);
  }

  #context(): Context {
    return {
      now: this.now,
      config: this.#config,
      leaderSinceUnixMs: this.#leaderSince,
      heartbeats: new Map(["a", "b"].map((host) => [host, { atUnixMs: this.now, state: "online" }])),
      heard: new Map(),
      newId: () => {
        this.#ids += 1;
        return `id-${this.#ids}`;
      },
    };
  }

  /** Decides, and writes all of it; or only the first `writes` messages, as a process that dies in the middle does. */
  tell(event: EngineEvent, writes = Infinity): Draft {
    const draft = advance(this.world, event, this.#context());
    for (const { topic, key, value } of draft.messages.slice(0, writes)) {
      if (topic === "notify.outbox") continue;
      const isRun = topic === "remediation.journal";
      if (value === null) {
        (isRun ? this.world.runs : this.world.incidents).delete(key);
      } else if (isRun) {
        const record = RemediationRecord.parse(JSON.parse(Buffer.from(value).toString()));
        this.journal.push(record);
        this.world.runs.set(key, record.run);
      } else {
        const record = IncidentRecord.parse(JSON.parse(Buffer.from(value).toString()));
        this.journal.push(record);
        this.world.incidents.set(key, record.incident);
      }
    }
    return draft;
  }

  say(finding: Finding, writes = Infinity): void {
    this.tell({ kind: "findings", findings: [{ finding, heardAtUnixMs: this.now }] }, writes);
  }

  /** What a new process finds: the journals, and nothing that was only in memory. */
  restart(): void {
    const { incidents, runs } = this.world;
    this.world = { ...emptyWorld(), incidents: new Map(incidents), runs: new Map(runs) };
    this.#leaderSince = this.now;
    this.tell({ kind: "resumed" });
  }

  owed(): readonly Effect[] {
    return owed(this.world, this.#context());
  }

  gather(value: (name: string) => number | null): void {
    for (const effect of this.owed()) {
      if (effect.kind !== "gather") continue;
      const values = Object.fromEntries(effect.queries.map(({ name }) => [name, value(name)]));
      const facts: Facts = { at_unix_ms: this.now, values };
      this.tell({ kind: "facts", runId: effect.runId, facts });
    }
  }

  steps(): readonly { readonly runId: string; readonly step: Step }[] {
    return this.owed().flatMap((effect) =>
      effect.kind === "apply" ? [{ runId: effect.run.run_id, step: effect.step }] : [],
    );
  }
}
