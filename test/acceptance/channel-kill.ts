import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "vitest";
import type { ListedJob, ResultsRead } from "../../bench/channel/control-process.ts";
import { Tiers } from "../../bench/channel/tiers.ts";

export interface ChannelKillOptions {
  readonly agents: number;
  /** At least so many are given. */
  readonly commands: number;
  readonly say: (text: string) => void;
}

export interface ChannelKilled {
  /** By tier. */
  readonly kills: Readonly<Record<string, number>>;
  readonly jobs: number;
  readonly commands: number;
  /** By state. */
  readonly states: Readonly<Record<string, number>>;
  /** Invocations without an end. */
  readonly missing: readonly string[];
  readonly runTwice: readonly string[];
  /** The state does not agree with what was run. */
  readonly untrue: readonly string[];
  /** Of what the killer did, for a failure. */
  readonly history: readonly string[];
}

/** Between two kills: from "it has hardly begun again" to "it is at work". */
const LIFE_MS_MAX = 1_500;
const DEAD_MS_MAX = 500;
const COMMAND_MS_MAX = 400;
const JOBS_OPEN_MAX = 3;
const POLL_MS = 50;
const DRAIN_MS_MAX = 180_000;
const HISTORY_MAX = 200;

const random = (max: number): number => Math.floor(Math.random() * max);

class ChannelKiller {
  readonly #tiers: Tiers;
  readonly #options: ChannelKillOptions;
  readonly #kills: Record<string, number> = { agents: 0, sites: 0, control: 0 };
  readonly #history: string[] = [];
  /** Final state by `<host> <command_id>`. */
  readonly #states = new Map<string, string>();
  readonly #jobs = new Map<string, ListedJob>();
  #resultsFrom = 0;
  #isOver = false;

  constructor(options: ChannelKillOptions) {
    this.#options = options;
    this.#tiers = new Tiers({
      agents: options.agents,
      servers: 2,
      verifies: true,
      heartbeatMs: 5_000,
      isQuiet: true,
      say: () => undefined,
    });
  }

  async run(): Promise<ChannelKilled> {
    try {
      await this.#tiers.start();
      const killing = this.#kill();
      await this.#give();
      this.#isOver = true;
      await killing;
      await this.#drain();
      return this.#verdict();
    } finally {
      await this.#tiers.stop();
    }
  }

  /** One tier after the other, at random moments, until all commands are given. */
  async #kill(): Promise<void> {
    while (!this.#isOver) {
      const lifeMs = random(LIFE_MS_MAX);
      await delay(lifeMs);
      const server = this.#tiers.servers[random(this.#tiers.servers.length)] ?? "";
      const kill = [
        { tier: "agents", act: () => this.#tiers.killAgents(random(DEAD_MS_MAX)) },
        { tier: "sites", act: () => this.#tiers.killSite(server, random(DEAD_MS_MAX)) },
        { tier: "control", act: () => this.#tiers.killControl(random(DEAD_MS_MAX)) },
      ][random(3)];
      if (kill === undefined || this.#isOver) continue;
      this.#history.push(`${kill.tier} after ${lifeMs} ms`);
      if (this.#history.length > HISTORY_MAX) this.#history.shift();
      this.#kills[kill.tier] = (this.#kills[kill.tier] ?? 0) + 1;
      await kill.act();
    }
  }

  /** Jobs for all hosts, a few at a time. One whose submission was cut off by a kill counts when control knows it. */
  async #give(): Promise<void> {
    const { agents, commands, say } = this.#options;
    let saidAt = 0;
    for (;;) {
      const jobs = await this.#ask<readonly ListedJob[]>("jobs");
      for (const job of jobs) this.#jobs.set(job.job_id, job);
      const given = this.#jobs.size * agents;
      if (given >= commands && Object.values(this.#kills).every((count) => count > 0)) return;
      if (given - saidAt >= commands / 20) {
        saidAt = given;
        await this.#readResults();
        say(`${given} commands given, ${this.#states.size} ended, kills ${JSON.stringify(this.#kills)}`);
      }
      const open = jobs.filter(({ state }) => state === "running" || state === "stopping").length;
      if (open >= JOBS_OPEN_MAX) {
        await delay(POLL_MS);
        continue;
      }
      const request = { executor: "simulate.run_marker", args: { ms: random(COMMAND_MS_MAX) } };
      await this.#tiers.control.ask("submit", { request, hosts: this.#tiers.hosts }).catch(() => delay(POLL_MS));
    }
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

  async #readResults(): Promise<void> {
    const { next, results } = await this.#ask<ResultsRead>("results", this.#resultsFrom);
    this.#resultsFrom = next;
    for (const [commandId, host, state] of results) {
      const key = `${host} ${commandId}`;
      // `lost` alone may be replaced by what an agent knows better.
      if (state !== "lost" || !this.#states.has(key)) this.#states.set(key, state);
    }
  }

  async #drain(): Promise<void> {
    const deadline = performance.now() + DRAIN_MS_MAX;
    for (;;) {
      for (const job of await this.#ask<readonly ListedJob[]>("jobs")) this.#jobs.set(job.job_id, job);
      const open = [...this.#jobs.values()].filter(({ state }) => state === "running" || state === "stopping");
      if (open.length === 0 || performance.now() > deadline) break;
      await delay(POLL_MS);
    }
    await this.#readResults();
  }

  #runs(): Map<string, number> {
    const runs = new Map<string, number>();
    for (const name of readdirSync(this.#tiers.markerDir)) {
      const text = readFileSync(join(this.#tiers.markerDir, name), "utf8");
      for (const line of text.split("\n").filter((each) => each !== "")) runs.set(line, (runs.get(line) ?? 0) + 1);
    }
    return runs;
  }

  #verdict(): ChannelKilled {
    const runs = this.#runs();
    const ended = new Map<string, Set<string>>();
    const states: Record<string, number> = {};
    for (const [key, state] of this.#states) {
      states[state] = (states[state] ?? 0) + 1;
      const [host = "", commandId = ""] = key.split(" ");
      const jobId = commandId.slice(0, commandId.lastIndexOf("."));
      const hosts = ended.get(jobId) ?? new Set();
      ended.set(jobId, hosts.add(host));
    }
    const missing = [...this.#jobs.keys()].flatMap((jobId) =>
      this.#tiers.hosts.filter((host) => ended.get(jobId)?.has(host) !== true).map((host) => `${host} ${jobId}`),
    );
    const unheard = [...runs.keys()].filter((key) => !this.#states.has(key)).map((key) => `${key} ran, unheard of`);
    const untrue = [...this.#states].flatMap(([key, state]) => {
      const ran = runs.get(key) ?? 0;
      return isTrue(state, ran) ? [] : [`${key} is ${state}, and ran ${ran} times`];
    });
    return {
      kills: this.#kills,
      jobs: this.#jobs.size,
      commands: this.#jobs.size * this.#options.agents,
      states,
      missing,
      runTwice: [...runs].filter(([, count]) => count > 1).map(([key]) => key),
      untrue: [...untrue, ...unheard],
      history: this.#history,
    };
  }
}

/** What was told of an invocation, beside how often it was run. */
const isTrue = (state: string, ran: number): boolean => {
  if (state === "succeeded" || state === "failed" || state === "timed_out") return ran === 1;
  if (state === "lost") return ran <= 1;
  return (state === "refused" || state === "expired" || state === "cancelled") && ran === 0;
};

/** Gives commands to a fleet while control, site servers and agents are killed at random, and compares what was told with what was run. */
export const channelKill = (options: ChannelKillOptions): Promise<ChannelKilled> => new ChannelKiller(options).run();

/** What must hold after it. */
export const expectTrueEnds = (killed: ChannelKilled): void => {
  const { kills, missing, runTwice, untrue, states } = killed;
  const how = `${JSON.stringify(kills)}; ${killed.history.join(", ")}`;
  expect(missing.slice(0, 10), `every invocation has ended; ${how}`).toEqual([]);
  expect(runTwice.slice(0, 10), `none ran twice; ${how}`).toEqual([]);
  expect(untrue.slice(0, 10), `what was told is what was run; ${how}`).toEqual([]);
  expect(states.succeeded, `most were not even disturbed; ${how}`).toBeGreaterThan(killed.commands / 2);
};
