import { renameSync, writeFileSync } from "node:fs";
import type { Heartbeat } from "@homeostat/schemas";
import type { AgentPart, AgentSurface } from "../agent-part.ts";
import type { SelfLimits } from "../standalone/standalone-config.ts";
import { ClockWatch } from "./clock-watch.ts";
import { ErrorCount } from "./error-count.ts";
import { createGear } from "./gear.ts";
import { SelfLimiter } from "./self-limits.ts";
import { createSweep } from "./sweep.ts";

const STATUS_EVERY_MS = 10_000;
/** Slowed down by as much: they cost most. */
const COSTLY = ["process", "path", "filesystem"] as const;

export interface SelfMeter {
  /** Of this process since its start, in microseconds. */
  cpuMicros(): number;
  rssBytes(): number;
  /** The pid of whoever started us; it changes when that one dies. */
  parentPid(): number;
}

export interface SelfOptions {
  readonly surface: AgentSurface;
  readonly limits: SelfLimits;
  readonly channel: {
    readonly isSealed: boolean;
    readonly state: string;
    readonly reconnects: number;
    readonly clockSkewMs: number | null;
    problems(): readonly string[];
  };
  readonly heartbeat: () => Heartbeat;
  readonly statusFile: string;
  /** The supervisor waits for it. */
  readonly healthyFile: string;
  readonly restart: (why: string) => void;
  readonly meter?: SelfMeter;
}

/** The agent's care for itself: its limits, its clock, its supervisor, what it tells of itself. */
export const createSelfPart = (options: SelfOptions): AgentPart => {
  const { surface, limits, channel, restart, meter = processMeter } = options;
  const limiter = new SelfLimiter(limits);
  const clock = new ClockWatch();
  const gear = createGear();
  const sweep = createSweep();
  const parent = meter.parentPid();
  const series = seriesOf(surface);
  const errors = new ErrorCount();
  let problem: string | null = null;
  let statusAtMs = Number.NEGATIVE_INFINITY;
  let wasSealed = false;
  let isHealthyTold = false;

  const tellStatus = (rssBytes: number) => {
    const heartbeat = options.heartbeat();
    errors.observe(heartbeat.problems);
    writeBeside(
      options.statusFile,
      JSON.stringify({ pid: process.pid, channel: channel.state, rss_bytes: rssBytes, heartbeat }),
    );
    for (const [code, count] of errors.counts()) series.errors(code).record(count);
  };
  const tellHealthy = () => {
    // Sealed channel, collectors that ran, a spool that takes: what a new version has to show.
    if (isHealthyTold || !channel.isSealed || surface.spool.problem !== null || surface.spool.nextSequence <= 1) return;
    writeBeside(options.healthyFile, `${process.pid}\n`);
    isHealthyTold = true;
  };
  return {
    name: "self",
    start: async () => undefined,
    stop: async () => undefined,
    problems: () => [
      ...(problem === null ? [] : [problem]),
      ...clock.problems(channel.clockSkewMs),
      ...channel.problems().map((one) => `the channel: ${one}`),
    ],
    collector: {
      name: "self",
      everyMs: 1_000,
      collect(nowUnixMs) {
        const atMs = surface.monotonicMs();
        if (meter.parentPid() !== parent) return restart("its supervisor is gone");
        clock.observe(nowUnixMs, atMs);
        const taken = { atMs, cpuMicros: meter.cpuMicros(), rssBytes: meter.rssBytes() };
        gear.observe(taken.cpuMicros, atMs);
        sweep.observe(atMs);
        const verdict = limiter.observe(taken);
        if (verdict.problem !== null && problem === null) surface.log.warn({ why: verdict.problem }, "slowing down");
        problem = verdict.problem;
        surface.collectors.slowBy(verdict.slowdown, COSTLY);
        surface.spool.slowdown = verdict.slowdown;
        series.slowdown.record(verdict.slowdown);
        series.throttled.record(limiter.throttledMs / 1000);
        series.reconnects.record(channel.reconnects);
        series.jumps.record(clock.jumps);
        if (channel.clockSkewMs !== null) series.skew.record(channel.clockSkewMs / 1000);
        if (verdict.restart !== null) return restart(verdict.restart);
        tellHealthy();
        // Whoever has just started the agent asks whether it is connected.
        if (atMs - statusAtMs < STATUS_EVERY_MS && channel.isSealed === wasSealed) return;
        statusAtMs = atMs;
        wasSealed = channel.isSealed;
        tellStatus(taken.rssBytes);
      },
    },
  };
};

const seriesOf = ({ sink }: AgentSurface) => ({
  slowdown: sink.gauge("homeostat.agent.slowdown", "1"),
  throttled: sink.counter("homeostat.agent.throttled", "s"),
  reconnects: sink.counter("homeostat.agent.channel.reconnects", "{reconnect}"),
  jumps: sink.counter("homeostat.agent.clock.jumps", "{jump}"),
  skew: sink.gauge("homeostat.agent.clock.skew", "s"),
  errors: (code: string) => sink.counter("homeostat.agent.errors", "{error}", { code }),
});

const processMeter: SelfMeter = {
  cpuMicros: () => {
    const { user, system } = process.cpuUsage();
    return user + system;
  },
  rssBytes: () => process.memoryUsage.rss(),
  parentPid: () => process.ppid,
};

const writeBeside = (path: string, text: string): void => {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
};
