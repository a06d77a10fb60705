import { setTimeout as delay } from "node:timers/promises";
import { expect } from "vitest";
import type { ListedJob, ResultsRead } from "../../bench/channel/control-process.ts";
import { Tiers } from "../../bench/channel/tiers.ts";
import { isOpen, KillLedger, type KillVerdict } from "./channel-kill-ledger.ts";

export interface ChannelKillOptions {
  readonly agents: number;
  /** At least so many are given. */
  readonly commands: number;
  /** A kill, of one or of two at once, for about so many commands. */
  readonly commandsPerKill: number;
  readonly say: (text: string) => void;
}

export interface ChannelKilled extends KillVerdict {
  /** By tier. */
  readonly kills: Readonly<Record<string, number>>;
  /** Of them, two at the same moment. */
  readonly pairs: number;
  readonly tookS: number;
  /** Of what the killer did, for a failure. */
  readonly history: readonly string[];
}

const SERVERS = 2;
const WORKERS = 3;
const DEAD_MS_MAX = 500;
/** Some kills come when what was killed before has hardly begun again; the others when so much has been done. */
const SOON_SHARE = 0.2;
const SOON_MS_MAX = 400;
/** Nothing gets on while something is down for long: then the next kill comes all the same. */
const STANDSTILL_MS = 15_000;
const PAIR_SHARE = 0.3;
const JOBS_OPEN_MAX = 12;
const POLL_MS = 25;
/** The newest, which are looked at each time; all that are known are looked at when everything has been given. */
const JOBS_POLLED = 100;
const DRAIN_MS_MAX = 180_000;
const HISTORY_MAX = 200;
/** The results are read as often: none of them grows old on the bus. */
const SAY_MS = 10_000;

const random = (max: number): number => Math.floor(Math.random() * max);

/** What is asked for, and when it is taken back again; null: never. */
interface Asked {
  readonly request: object;
  readonly batch: object;
  readonly cancelAfterMs: number | null;
}

const marker = (msMax: number, rest: object = {}): object => ({
  executor: "simulate.run_marker",
  args: { ms: random(msMax) },
  ...rest,
});

const KINDS: readonly { readonly weight: number; readonly ask: (hosts: number) => Asked }[] = [
  { weight: 14, ask: () => ({ request: marker(20), batch: {}, cancelAfterMs: null }) },
  // Taken back at once, while it runs, or when it is over; of the slower ones, many were never handed out.
  { weight: 2, ask: () => ({ request: marker(300), batch: {}, cancelAfterMs: random(400) }) },
  {
    weight: 2,
    ask: (hosts) => ({
      request: marker(200),
      batch: { concurrency_max: Math.ceil(hosts / 4) },
      cancelAfterMs: random(600),
    }),
  },
  // Its time is over when some have run, some wait and some were never sent.
  {
    weight: 1,
    ask: (hosts) => ({
      request: marker(600, { expires_ms: 1_000 }),
      batch: { concurrency_max: Math.ceil(hosts / 4) },
      cancelAfterMs: null,
    }),
  },
  { weight: 1, ask: () => ({ request: marker(20, { expires_ms: 1_000 }), batch: {}, cancelAfterMs: null }) },
  // Too slow, so that it stops by its errors.
  {
    weight: 1,
    ask: (hosts) => ({
      request: marker(80, { timeout_ms: 40 }),
      batch: { concurrency_max: Math.ceil(hosts / 8), errors_max: Math.ceil(hosts / 16) },
      cancelAfterMs: null,
    }),
  },
];
const WEIGHTED = KINDS.flatMap((kind) => Array.from({ length: kind.weight }, () => kind));

class ChannelKiller {
  readonly #tiers: Tiers;
  readonly #options: ChannelKillOptions;
  readonly #ledger: KillLedger;
  readonly #kills: Record<string, number> = { agents: 0, sites: 0, control: 0 };
  readonly #history: string[] = [];
  readonly #cancelling = new Set<Promise<void>>();
  #pairs = 0;
  #resultsFrom = 0;
  #isOver = false;

  constructor(options: ChannelKillOptions) {
    this.#options = options;
    this.#tiers = new Tiers({
      agents: options.agents,
      servers: SERVERS,
      workers: WORKERS,
      verifies: true,
      heartbeatMs: 5_000,
      isQuiet: true,
      say: () => undefined,
    });
    this.#ledger = new KillLedger(this.#tiers.hosts);
  }

  async run(): Promise<ChannelKilled> {
    try {
      await this.#tiers.start();
      const begunMs = performance.now();
      const killing = this.#kill();
      // Told by `give` when it cannot go on either.
      killing.catch(() => undefined);
      await this.#give();
      this.#isOver = true;
      await killing;
      await this.#drain();
      const tookS = (performance.now() - begunMs) / 1_000;
      this.#ledger.readMarkers(this.#tiers.markerDir);
      const [kills, pairs, history] = [this.#kills, this.#pairs, this.#history];
      return { ...this.#ledger.verdict(), kills, pairs, tookS, history };
    } finally {
      this.#isOver = true;
      await this.#tiers.stop();
    }
  }

  // ── kills

  /** One process or two, at random moments, until all commands are given. */
  async #kill(): Promise<void> {
    for (;;) {
      const when = await this.#nextMoment();
      if (this.#isOver) return;
      const victims = this.#victims();
      this.#history.push(`${victims.map(({ name }) => name).join(" and ")} ${when}`);
      if (this.#history.length > HISTORY_MAX) this.#history.shift();
      if (victims.length > 1) this.#pairs += 1;
      await Promise.all(
        victims.map(({ tier, act }) => {
          this.#kills[tier] = (this.#kills[tier] ?? 0) + 1;
          return act(random(DEAD_MS_MAX));
        }),
      );
    }
  }

  #victims() {
    const tiers = this.#tiers;
    const all = [
      ...Array.from({ length: WORKERS }, (_, at) => ({
        tier: "agents",
        name: `agents ${at}`,
        act: (deadMs: number) => tiers.simulation.killWorker(at, deadMs),
      })),
      ...tiers.servers.map((name) => ({ tier: "sites", name, act: (deadMs: number) => tiers.killSite(name, deadMs) })),
      ...Array.from({ length: SERVERS }, () => ({
        tier: "control",
        name: "control",
        act: (deadMs: number) => tiers.killControl(deadMs),
      })),
    ];
    const first = all[random(all.length)];
    const others = all.filter(({ name }) => name !== first?.name);
    const second = Math.random() < PAIR_SHARE ? others[random(others.length)] : undefined;
    return [first, second].filter((victim) => victim !== undefined);
  }

  async #nextMoment(): Promise<string> {
    if (Math.random() < SOON_SHARE) {
      const ms = random(SOON_MS_MAX);
      await delay(ms);
      return `${ms} ms later`;
    }
    const until = this.#ledger.ended + random(2 * this.#options.commandsPerKill);
    const deadline = performance.now() + STANDSTILL_MS;
    while (this.#ledger.ended < until && performance.now() < deadline && !this.#isOver) await delay(POLL_MS);
    return `at ${this.#ledger.ended} ends`;
  }

  // ── load

  /** Jobs for all hosts, some at a time. One whose submission was cut off by a kill counts when control knows it. */
  async #give(): Promise<void> {
    const { agents, commands, say } = this.#options;
    let saidMs = performance.now();
    for (;;) {
      await this.#list(JOBS_POLLED);
      const { given } = this.#ledger;
      if (given >= commands && Object.values(this.#kills).every((count) => count > 0)) break;
      if (performance.now() - saidMs >= SAY_MS) {
        saidMs = performance.now();
        await this.#readResults();
        say(`${given} commands given, ${this.#ledger.ended} ended, kills ${JSON.stringify(this.#kills)}`);
      }
      const room = JOBS_OPEN_MAX - this.#ledger.open().length;
      const enough = Math.ceil((commands - given) / agents);
      await Promise.all(Array.from({ length: Math.min(room, Math.max(1, enough)) }, () => this.#submit()));
      await delay(POLL_MS);
    }
    await Promise.all(this.#cancelling);
  }

  async #submit(): Promise<void> {
    const hosts = this.#tiers.hosts;
    const asked = WEIGHTED[random(WEIGHTED.length)]?.ask(hosts.length);
    if (asked === undefined) return;
    const { request, batch, cancelAfterMs } = asked;
    try {
      const jobId = await this.#tiers.control.ask<string>("submit", { request, hosts, batch });
      if (cancelAfterMs === null) return;
      const cancelling = this.#cancel(jobId, cancelAfterMs).finally(() => this.#cancelling.delete(cancelling));
      this.#cancelling.add(cancelling);
    } catch {
      // Control was killed, or does not lead yet: whether the job is there, its list tells.
      await delay(POLL_MS);
    }
  }

  async #cancel(jobId: string, afterMs: number): Promise<void> {
    await delay(afterMs);
    const refused = await this.#ask<string | null>("cancel", jobId);
    if (refused !== null && refused !== "wrong_state" && refused !== "not_leader" && refused !== "unavailable")
      throw new Error(`job ${jobId} could not be cancelled: ${refused}`);
  }

  /** Of a control that may be killed while it is asked, or is just beginning. */
  async #ask<Answer>(order: string, argument: unknown = null): Promise<Answer> {
    const deadline = performance.now() + DRAIN_MS_MAX;
    for (;;) {
      try {
        return await this.#tiers.control.ask<Answer>(order, argument);
      } catch (error) {
        if (performance.now() > deadline) throw error;
        await delay(POLL_MS);
      }
    }
  }

  async #list(limit: number): Promise<void> {
    for (const job of await this.#ask<readonly ListedJob[]>("jobs", limit)) this.#ledger.listed(job);
  }

  async #readResults(): Promise<void> {
    const { next, results } = await this.#ask<ResultsRead>("results", this.#resultsFrom);
    this.#resultsFrom = next;
    for (const result of results) this.#ledger.told(result);
  }

  async #drain(): Promise<void> {
    const deadline = performance.now() + DRAIN_MS_MAX;
    do {
      await delay(POLL_MS);
      await this.#list(1_000);
    } while (this.#ledger.open().some(isOpen) && performance.now() < deadline);
    await this.#readResults();
  }
}

/**
 * Gives commands to a fleet, takes some of them back and lets others expire, while control, site servers and agents are killed at random,
 * and compares what was run with what was told and with what the jobs say.
 */
export const channelKill = (options: ChannelKillOptions): Promise<ChannelKilled> => new ChannelKiller(options).run();

/** What must hold after it. */
export const expectTrueEnds = (killed: ChannelKilled): void => {
  const { kills, missing, twice, untrue, states } = killed;
  const how = `${JSON.stringify(kills)}; ${killed.history.join(", ")}`;
  expect(missing.named.slice(0, 10), `every invocation has ended; ${how}`).toEqual([]);
  expect(twice.named.slice(0, 10), `none ran twice; ${how}`).toEqual([]);
  expect(untrue.named.slice(0, 10), `what was told is what was run; ${how}`).toEqual([]);
  expect(states.succeeded, `most were not even disturbed; ${how}`).toBeGreaterThan(killed.commands / 4);
};
