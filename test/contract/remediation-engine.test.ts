import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
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

const { publicKey, privateKey } = generateKeyPairSync("ed25519");
const nothing = () => undefined;
const log: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
const START = 1_800_000_000_000;

/** Time that moves only when it is told to. */
class VirtualClock {
  #now = START;
  #timers: { at: number; run: () => void }[] = [];
  readonly now = (): number => this.#now;
  readonly after = (ms: number, run: () => void): (() => void) => {
    const timer = { at: this.#now + ms, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  };
  /** To the next timer, and runs it. */
  step(): void {
    const next = this.#timers.toSorted((a, b) => a.at - b.at)[0];
    if (next === undefined) throw new Error("nothing waits for time, so nothing more will happen");
    this.#timers = this.#timers.filter((timer) => timer !== next);
    this.#now = Math.max(this.#now, next.at);
    next.run();
  }
}

type Published = { readonly topic: string; readonly key: string; readonly value: unknown };

/** What goes wrong at a write that became durable all the same. */
type Mishap = "death" | "an error";

/** One life of a process on the bus: after `publishesMax` publishes that became durable it is dead, and nothing it does has an effect. */
class Life {
  readonly published: Published[] = [];
  publishes = 0;
  isDead = false;
  hadMishap = false;
  readonly bus: Bus;
  constructor(inner: Bus, publishesMax: number, mishap: Mishap, activity: { count: number }) {
    const alive = () => {
      if (this.isDead) throw new Error("killed");
    };
    const track = async <T>(work: () => Promise<T>): Promise<T> => {
      activity.count += 1;
      try {
        return await work();
      } finally {
        activity.count -= 1;
      }
    };
    this.bus = {
      publish: (messages) =>
        track(async () => {
          alive();
          await inner.publish(messages);
          for (const { topic, key, value } of messages) {
            this.published.push({ topic, key, value: value && JSON.parse(Buffer.from(value).toString()) });
          }
          this.publishes += 1;
          if (this.publishes === publishesMax) {
            this.isDead = mishap === "death";
            this.hadMishap = true;
            throw new Error("the answer was lost");
          }
        }),
      consume: async (options) => {
        // Until every partition is open there is work under way; only the lease may be another member's for ever.
        let unopened = options.group === "remediation-leader" ? 0 : options.topics.length;
        activity.count += unopened;
        const opened = (count: number) => {
          const left = Math.min(count, unopened);
          unopened -= left;
          activity.count -= left;
        };
        const consumer = await inner.consume({
          ...options,
          open: async (partition) => {
            const commit = (offset: number, metadata?: string) =>
              track(async () => {
                alive();
                await partition.commit(offset, metadata);
              });
            const handler = await options.open({ ...partition, commit }).finally(() => opened(1));
            return {
              startOffset: handler.startOffset,
              receive: (messages, end) =>
                track(async () => {
                  alive();
                  await handler.receive(messages, end);
                }),
              close: async () => handler.close?.(),
            };
          },
        });
        return {
          stop: async () => {
            opened(unopened);
            await consumer.stop();
          },
        };
      },
      lag: (group, topic) => inner.lag(group, topic),
      stop: async () => undefined,
    };
  }
}

const finding = (changes: Partial<Finding> = {}): Finding => ({
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

interface WorldOptions {
  readonly config?: unknown;
  /** What a restart does to the service; null: the agent never answers. */
  readonly restart?: (world: World) => Partial<CommandResult> | null;
  readonly changingAt?: (site: string) => number;
}

/** A host with one service, its agent and its detector, as the engine meets them: on the bus, and through facts. */
class World {
  static async open(options: WorldOptions = {}): Promise<World> {
    const dir = await mkdtemp(join(tmpdir(), "homeostat-remediation-"));
    const clock = new VirtualClock();
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
    await this.atOnce("leading", () => started.engine.status().role === "leader" || started.life.isDead);
    return started;
  }

  /** It comes to be without any time going on: only the disk is waited for. */
  async atOnce(what: string, isSo: () => boolean): Promise<void> {
    for (let turns = 0; turns < 1_000_000; turns += 1) {
      if (isSo()) return;
      await turn();
    }
    throw new Error(`never came to be: ${what}`);
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
    await Promise.all([...this.#engines].map((engine) => engine.stop()));
    await this.#bus.stop();
    await rm(this.dir, { recursive: true, force: true });
  }
}

const open: World[] = [];
const openWorld = async (options?: WorldOptions): Promise<World> => {
  const world = await World.open(options);
  open.push(world);
  return world;
};
afterEach(async () => {
  for (const world of open.splice(0)) await world.close();
});

const isOver = (world: World) => () => ["resolved", "escalated"].includes(world.incident()?.state ?? "");

describe("the engine, on the embedded bus, with an agent that answers", () => {
  it("restarts a service that is down, waits until the facts and the finding say so, and resolves", async () => {
    const world = await openWorld();
    const { engine } = await world.leader();
    await world.say("detect.findings", "a", finding());
    await world.until("resolved", isOver(world));
    expect(world.incident()).toMatchObject({ state: "resolved", entity: { host: "a", service: "shop" } });
    expect(world.run()).toMatchObject({
      state: "succeeded",
      verdict: "healed",
      plan: { action: "restart_service", params: { service: "shop" } },
      before: { values: { "service up": 0 } },
      after: { values: { "service up": 1 } },
    });
    expect(world.run()?.guards.every(({ passed }) => passed)).toBe(true);
    expect(world.run()?.outcomes).toMatchObject([{ status: "succeeded", message: "restarted" }]);
    const { times } = world.incident() ?? {};
    expect(times?.recovered_at_unix_ms).toBe(world.run()?.times.healthy_since_unix_ms);
    expect(times?.diagnosed_at_unix_ms).toBeLessThanOrEqual(times?.mitigation_started_at_unix_ms ?? 0);
    expect(world.done).toHaveLength(1);
    await world.until("closed", () => world.incident()?.state === "closed");
    expect(engine.status()).toMatchObject({ role: "leader", incidents_open: 0, runs_live: 0, last_error: null });
  });

  it("takes a finding that is delivered again for nothing", async () => {
    const world = await openWorld();
    await world.leader();
    await world.say("detect.findings", "a", finding());
    await world.until("resolved", isOver(world));
    const version = world.incident()?.version;
    for (const state of ["firing", "resolved"] as const) await world.say("detect.findings", "a", finding({ state }));
    await world.rest();
    expect(world.incidents.size).toBe(1);
    expect(world.incident()?.version).toBe(version);
  });

  it("never takes the absence of data for health", async () => {
    const world = await openWorld({
      restart: (w) => {
        w.up = null;
        w.clock.after(1000, () => void w.say("detect.findings", "a", finding({ state: "no_data" })));
        return {};
      },
    });
    await world.leader();
    await world.say("detect.findings", "a", finding());
    await world.until("escalated", isOver(world));
    expect(world.run()).toMatchObject({ state: "inconclusive", verdict: "inconclusive" });
    expect(world.incident()?.state).toBe("escalated");
  });

  it("does not act while the facts have gaps, and tells a person in the end", async () => {
    const world = await openWorld();
    world.up = null;
    await world.leader();
    await world.say("detect.findings", "a", finding());
    await world.until("escalated", isOver(world));
    expect(world.run()).toMatchObject({ state: "suppressed" });
    expect(world.run()?.reason).toContain("no data for: service up");
    expect(world.seen.size).toBe(0);
  });

  it("does not act while the host's data health is in doubt, and does once it is well", async () => {
    const world = await openWorld();
    await world.leader();
    const sick = finding({
      finding_id: "h1",
      rule: "host-silent",
      category: "data_health",
      entity: { host: "a" },
      summary: "host a is silent",
    });
    await world.say("detect.findings", "a", sick);
    await world.say("detect.findings", "a", finding());
    await world.until("held", () => world.run()?.guards.some(({ passed }) => !passed) ?? false);
    expect(world.run()?.guards.filter(({ passed }) => !passed)).toMatchObject([{ guard: "observer_health" }]);
    expect(world.seen.size).toBe(0);
    await world.say("detect.findings", "a", { ...sick, state: "resolved" });
    await world.until("succeeded", () => world.run()?.state === "succeeded");
  });

  it("escalates a command of which nothing is heard, and sends it no second time", async () => {
    const world = await openWorld({ restart: () => null });
    await world.leader();
    await world.say("detect.findings", "a", finding());
    await world.until("escalated", isOver(world));
    expect(world.run()).toMatchObject({ state: "escalated", outcomes: [{ status: "unknown" }] });
    expect([...world.seen.values()]).toEqual([1]);
  });

  it("escalates a restart that fails", async () => {
    const world = await openWorld({ restart: () => ({ state: "failed", exit_code: 3, message: "exited with 3" }) });
    await world.leader();
    await world.say("detect.findings", "a", finding());
    await world.until("escalated", isOver(world));
    expect(world.run()).toMatchObject({ state: "failed", outcomes: [{ status: "failed", exit_code: 3 }] });
  });

  it("resolves an incident whose finding ends by itself, without an action", async () => {
    const world = await openWorld({ config: { guards: { start_up_grace_ms: 60_000 } } });
    await world.leader();
    await world.say("detect.findings", "a", finding());
    await world.until(
      "held",
      () => world.run()?.guards.some(({ guard, passed }) => guard === "start_up_grace" && !passed) ?? false,
    );
    await world.say("detect.findings", "a", finding({ state: "resolved" }));
    await world.until("resolved", isOver(world));
    expect(world.incident()?.state).toBe("resolved");
    expect(world.run()?.state).toBe("suppressed");
    expect(world.seen.size).toBe(0);
  });

  it("waits for a person where the runbook says approve; the person's word is in the journal", async () => {
    const { runbooks } = RemediationConfig.parse({});
    const world = await openWorld({
      config: {
        guards: { start_up_grace_ms: 0 },
        runbooks: runbooks.map((runbook) => ({ ...runbook, autonomy: "approve" })),
      },
    });
    const { engine } = await world.leader();
    await world.say("detect.findings", "a", finding());
    await world.until("awaiting", () => world.run()?.state === "awaiting_approval");
    expect(world.seen.size).toBe(0);
    const runId = world.run()?.run_id ?? "";
    expect(await engine.decide("nothing", { by: "ann", approved: true, note: "" })).toMatchObject({
      refused: "not_found",
    });
    expect(await engine.decide(runId, { by: "ann", approved: true, note: "go" })).toMatchObject({
      decision: { by: "ann" },
    });
    expect(await engine.decide(runId, { by: "bob", approved: false, note: "" })).toMatchObject({
      refused: "not_awaiting_approval",
    });
    await world.until("resolved", isOver(world));
    expect(world.run()).toMatchObject({ state: "succeeded", decision: { by: "ann", approved: true, note: "go" } });
    expect(world.grants).toMatchObject([
      {
        requested_by: expect.stringMatching(/^remediation\//),
        job_id: runId,
        risk: "reversible",
        approvals: [{ by: "ann" }],
        targets: { count: 1, sites: { "dc-1": { targeted: 1, of: 1 } } },
      },
    ]);
  });

  it("says in its grants what others are changing at the same site, and never more than the site", async () => {
    const world = await openWorld({ changingAt: (site) => (site === "dc-1" ? 3 : 0) });
    await world.leader();
    for (const host of ["b", "c"]) await world.beat(host);
    await world.say("detect.findings", "a", finding());
    await world.until("resolved", isOver(world));
    expect(world.grants[0]?.targets.sites).toEqual({ "dc-1": { targeted: 3, of: 3 } });
  });

  it("only tells what it would do where the runbook says suggest", async () => {
    const { runbooks } = RemediationConfig.parse({});
    const world = await openWorld({
      config: {
        guards: { start_up_grace_ms: 0 },
        runbooks: runbooks.map((runbook) => ({ ...runbook, autonomy: "suggest" })),
      },
    });
    await world.leader();
    await world.say("detect.findings", "a", finding());
    await world.until("escalated", isOver(world));
    expect(world.run()).toMatchObject({ state: "suppressed", plan: { action: "restart_service" } });
    expect(world.seen.size).toBe(0);
  });

  it("keeps one leader of two, and the other takes over when it goes", async () => {
    const world = await openWorld();
    const first = await world.leader();
    const second = await world.engine();
    await world.rest();
    expect([first.engine.status().role, second.engine.status().role].sort()).toEqual(["leader", "standby"]);
    const [leader, standby] = first.engine.status().role === "leader" ? [first, second] : [second, first];
    await world.say("detect.findings", "a", finding());
    await world.until("running", () => world.run()?.state === "verifying");
    leader.life.isDead = true;
    await world.stopEngine(leader.engine);
    await world.atOnce("taken over", () => standby.engine.status().role === "leader");
    await world.until("resolved", isOver(world));
    expect(standby.engine.status().role).toBe("leader");
    expect(world.done).toHaveLength(1);
  });
});

const commandsAreWrittenAhead = (lives: readonly Life[]): void => {
  const running = new Set<string>();
  for (const { topic, value } of lives.flatMap(({ published }) => published)) {
    if (topic === "remediation.journal" && value !== null) {
      const { run } = RemediationRecord.parse(value);
      if (run.state === "running") for (const step of run.plan?.steps ?? []) running.add(step.idempotency_key);
    }
    if (topic === "agent.commands") {
      expect(running).toContain(Dispatch.parse(value).signed.grant.command_id);
    }
  }
};

const MISHAPS: readonly Mishap[] = ["death", "an error"];

describe("a restart of the engine in the middle of a run", () => {
  it.for(MISHAPS)(
    "comes to the same end after %s at each of its writes, with one command that is done once",
    async (mishap) => {
      const undisturbed = await openWorld();
      const { life } = await undisturbed.leader();
      await undisturbed.say("detect.findings", "a", finding());
      await undisturbed.until("closed", () => undisturbed.incident()?.state === "closed");
      expect(life.publishes).toBeGreaterThan(7);
      for (let writes = 1; writes <= life.publishes; writes += 1) {
        const at = `${mishap} at write ${writes}`;
        const world = await openWorld();
        const first = await world.leader(writes, mishap);
        await world.say("detect.findings", "a", finding());
        await world.until(at, () => first.life.hadMishap);
        if (mishap === "death") {
          await world.stopEngine(first.engine);
          await world.leader();
        }
        await world.until(`closed, after ${at}`, () => world.incident()?.state === "closed");
        expect(world.incidents.size, `incidents, ${at}`).toBe(1);
        expect(world.runs.size, `runs, ${at}`).toBe(1);
        expect(world.run(), at).toMatchObject({ state: "succeeded", verdict: "healed" });
        expect(world.done, `commands done, ${at}`).toHaveLength(1);
        expect([...world.seen.keys()]).toEqual(world.done);
        commandsAreWrittenAhead(world.lives);
        await world.close();
        open.splice(open.indexOf(world), 1);
      }
    },
  );
});

describe("the webhook", () => {
  it("reaches a receiver that failed at first and a platform that was restarted, with one id for each delivery", async () => {
    const requests: { headers: IncomingHttpHeaders; body: { status: string; alerts: unknown[] } }[] = [];
    let refusals = 2;
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        requests.push({ headers: request.headers, body: JSON.parse(Buffer.concat(chunks).toString()) });
        refusals -= 1;
        response.writeHead(refusals >= 0 ? 503 : 200).end("busy");
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    try {
      const world = await openWorld({
        config: {
          guards: { start_up_grace_ms: 0 },
          receivers: [
            {
              name: "ops",
              kind: "webhook",
              url: `http://127.0.0.1:${port}/hook`,
              bearer_token: "s3cret",
              events: ["opened", "resolved"],
            },
          ],
        },
      });
      const first = await world.leader();
      await world.say("detect.findings", "a", finding());
      await world.until("one failed attempt", () => [...world.outbox.values()].some(({ attempts }) => attempts === 1));
      expect([...world.outbox.values()][0]).toMatchObject({ state: "pending", event: "opened" });
      expect([...world.outbox.values()][0]?.last_error).toMatch(/503/);
      first.life.isDead = true;
      await world.stopEngine(first.engine);
      await world.leader();
      await world.until("both delivered", () => {
        const all = [...world.outbox.values()];
        return all.length === 2 && all.every(({ state }) => state === "delivered");
      });
      const ids = requests.map(({ headers }) => headers["idempotency-key"]);
      expect(ids.slice(0, 3)).toEqual([ids[0], ids[0], ids[0]]);
      expect(new Set(ids).size).toBe(2);
      expect(requests.map(({ body }) => body.status)).toEqual(["firing", "firing", "firing", "resolved"]);
      expect(requests[0]?.headers.authorization).toBe("Bearer s3cret");
      expect(JSON.stringify([...world.outbox.values()])).not.toContain("s3cret");
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });
});
