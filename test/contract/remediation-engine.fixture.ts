import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { onTestFinished } from "vitest";
import { createEmbeddedBus, type EmbeddedBus } from "../../app/src/embedded/bus/index.ts";
import { createEngine, type Engine, RemediationConfig } from "../../remediation/src/index.ts";
import {
  type Bus,
  type CommandResult,
  commandsOf,
  Dispatch,
  type Facts,
  type Finding,
  type Grant,
  IncidentRecord,
  type Log,
  Notification,
  RemediationRecord,
  topics,
  verifyCommand,
} from "../../schemas/src/index.ts";
import { Life, type Mishap } from "./remediation-engine-life.fixture.ts";
import { VirtualClock } from "./virtual-clock.fixture.ts";

const { publicKey, privateKey } = generateKeyPairSync("ed25519");
const nothing = () => undefined;
const log: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
const START = 1_800_000_000_000;

export const finding = (changes: Partial<Finding> = {}): Finding => ({
  finding_id: "f1",
  detector: "threshold",
  rule: "service-down",
  state: "firing",
  severity: "critical",
  category: "symptom",
  entity: { host: "a", service: "shop" },
  started_at_unix_ms: START - 2000,
  detected_at_unix_ms: START,
  value: 0,
  unit: "1",
  expected: null,
  summary: "shop is down",
  labels: { metric: "homeostat.service.up", "service.name": "shop" },
  evidence: [],
  ...changes,
});

export interface WorldOptions {
  readonly config?: unknown;
  /** What a restart does to the service; null: the agent never answers. */
  readonly restart?: (world: World) => Partial<CommandResult> | null;
  readonly changingAt?: (site: string) => number;
}

/** A host with one service, its agent and its detector, as the engine meets them: on the bus, and through facts. */
export class World {
  static async open(options: WorldOptions = {}): Promise<World> {
    const dir = await mkdtemp(join(tmpdir(), "homeostat-remediation-"));
    const clock = new VirtualClock(START);
    const bus = await createEmbeddedBus({ dir, topics: topics(), now: clock.now, log });
    const world = new World(dir, clock, bus, options);
    await world.#open();
    return world;
  }

  readonly dir: string;
  readonly clock: VirtualClock;
  readonly config: RemediationConfig;
  up: number | null = 0;
  /** command_id → how often the agent saw it, and how often it did it. */
  readonly seen = new Map<string, number>();
  readonly done: string[] = [];
  readonly grants: Grant[] = [];
  readonly lives: Life[] = [];
  readonly activity = { count: 0 };
  readonly incidents = new Map<string, IncidentRecord>();
  readonly runs = new Map<string, RemediationRecord>();
  readonly outbox = new Map<string, Notification>();
  readonly #bus: EmbeddedBus;
  readonly #own: Bus;
  readonly #restart: NonNullable<WorldOptions["restart"]>;
  readonly #changingAt: NonNullable<WorldOptions["changingAt"]>;
  readonly #answers = new Map<string, CommandResult>();
  readonly #engines = new Set<Engine>();
  #ids = 0;

  constructor(dir: string, clock: VirtualClock, bus: EmbeddedBus, { config, restart, changingAt }: WorldOptions) {
    this.#changingAt = changingAt ?? (() => 0);
    this.dir = dir;
    this.clock = clock;
    this.#bus = bus;
    this.#own = this.#life(Infinity).bus;
    this.config = RemediationConfig.parse(config ?? { guards: { start_up_grace_ms: 0 } });
    this.#restart =
      restart ??
      ((world) => {
        world.up = 1;
        return {};
      });
  }

  async #open(): Promise<void> {
    await this.#own.consume({
      group: "agent",
      topics: ["agent.commands"],
      open: async ({ committed, commit }) => ({
        startOffset: committed?.offset ?? 0,
        receive: async (messages) => {
          for (const message of messages) {
            await this.#obey(JSON.parse(Buffer.from(message.value ?? []).toString()));
            await commit(message.offset + 1);
          }
        },
      }),
    });
    await this.#own.consume({
      group: "observer",
      topics: ["incidents.journal", "remediation.journal", "notify.outbox"],
      open: async ({ earliestOffset }) => ({
        startOffset: earliestOffset,
        receive: async (messages) => {
          for (const { topic, key, value } of messages) {
            if (value === null || key === null) continue;
            const record: unknown = JSON.parse(Buffer.from(value).toString());
            if (topic === "incidents.journal") this.incidents.set(key, IncidentRecord.parse(record));
            else if (topic === "remediation.journal") this.runs.set(key, RemediationRecord.parse(record));
            else this.outbox.set(key, Notification.parse(record));
          }
        },
      }),
    });
    const beat = async (): Promise<void> => {
      this.clock.after(10_000, () => void beat());
      await this.beat("a");
    };
    await beat();
  }

  async beat(host: string): Promise<void> {
    await this.say("agent.heartbeats", host, {
      host,
      agent_version: "0",
      state: "online",
      problems: [],
      at_unix_ms: this.clock.now(),
      started_at_unix_ms: START,
      ledger: { produced: 0, delivered: 0, spooled: 0, dropped: {} },
      spool_bytes: 0,
      site: "dc-1",
    });
  }

  #life(publishesMax: number, mishap: Mishap = "death"): Life {
    return new Life(this.#bus, publishesMax, mishap, this.activity);
  }

  /** The agent: does a command once, and answers each time that it is asked. */
  async #obey(value: unknown): Promise<void> {
    const verified = verifyCommand(commandsOf(Dispatch.parse(value))(0), { host: "a", trustedKeys: [publicKey] });
    if ("refused" in verified) throw new Error(verified.refused);
    const { grant } = verified;
    this.grants.push(grant);
    this.seen.set(grant.command_id, (this.seen.get(grant.command_id) ?? 0) + 1);
    if (!this.#answers.has(grant.command_id)) {
      this.done.push(grant.command_id);
      const changes = this.#restart(this);
      if (changes === null) return;
      this.#answers.set(grant.command_id, {
        command_id: grant.command_id,
        host: "a",
        executor: grant.executor,
        state: "succeeded",
        exit_code: 0,
        stdout: "",
        stderr: "",
        output_truncated: false,
        started_at_unix_ms: this.clock.now(),
        ended_at_unix_ms: this.clock.now(),
        message: "restarted",
        ...changes,
      });
      // The detector sees what the agent did.
      if (this.up === 1)
        this.clock.after(3000, () => void this.say("detect.findings", "a", finding({ state: "resolved" })));
    }
    await this.say("agent.results", "a", this.#answers.get(grant.command_id));
  }

  readonly facts = async (queries: readonly { name: string }[]): Promise<Facts> => ({
    at_unix_ms: this.clock.now(),
    values: Object.fromEntries(queries.map(({ name }) => [name, name === "service up" ? this.up : null])),
  });

  async say(topic: string, key: string, value: unknown): Promise<void> {
    await this.#own.publish([{ topic, key, value: Buffer.from(JSON.stringify(value)) }]);
  }

  async engine(publishesMax = Infinity, mishap: Mishap = "death"): Promise<{ engine: Engine; life: Life }> {
    const life = this.#life(publishesMax, mishap);
    this.lives.push(life);
    const engine = createEngine({
      bus: life.bus,
      config: this.config,
      facts: this.facts,
      signingKey: privateKey,
      changingAt: this.#changingAt,
      now: this.clock.now,
      log,
      newId: () => {
        this.#ids += 1;
        return `id-${this.#ids}`;
      },
      timers: this.clock,
    });
    await engine.start();
    this.#engines.add(engine);
    return { engine, life };
  }

  /** As above, and it leads; or died on the way to it. */
  async leader(publishesMax = Infinity, mishap: Mishap = "death"): Promise<{ engine: Engine; life: Life }> {
    const started = await this.engine(publishesMax, mishap);
    await this.atOnce(() => started.engine.status().role === "leader" || started.life.isDead);
    return started;
  }

  /** It comes to be without any time going on: only the disk is waited for, however long. The test's own limit ends what never comes. */
  async atOnce(isSo: () => boolean): Promise<void> {
    while (!isSo()) await turn();
  }

  async stopEngine(engine: Engine): Promise<void> {
    this.#engines.delete(engine);
    await engine.stop();
  }

  /** Lets the work of this moment come to rest. */
  async rest(): Promise<void> {
    for (let quiet = 0; quiet < 25; quiet = this.activity.count === 0 ? quiet + 1 : 0) await turn();
  }

  /** Time goes on, from timer to timer, until it is so. */
  async until(what: string, isSo: () => boolean): Promise<void> {
    for (let steps = 0; steps < 5000; steps += 1) {
      await this.rest();
      if (isSo()) return;
      this.clock.step();
    }
    const states = [...this.incidents.values()].map(({ incident }) => incident.timeline.map(({ text }) => text));
    throw new Error(`never came to be: ${what}; ${JSON.stringify(states, null, 1)}`);
  }

  incident() {
    return [...this.incidents.values()][0]?.incident;
  }

  run() {
    return [...this.runs.values()][0]?.run;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#engines].map((engine) => this.stopEngine(engine)));
    await this.#bus.stop();
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** A world for one test, closed when that ends. */
export const openWorld = async (options?: WorldOptions): Promise<World> => {
  const world = await World.open(options);
  onTestFinished(() => world.close());
  return world;
};

export const isOver = (world: World) => () => ["resolved", "escalated"].includes(world.incident()?.state ?? "");
