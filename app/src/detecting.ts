import { createRunner, type Runner, type RunnerOptions } from "@homeostat/detectors";
import { createHourMemory } from "./hour-memory.ts";
import type { LiveStore } from "./live-store.ts";
import { createRollupJob } from "./rollup-job.ts";
import type { Job } from "./schedule.ts";
import type { Undo } from "./undo.ts";

/** How often the detectors are told that time has passed. */
const TICK_MS = 1000;

export interface Detecting {
  readonly runner: Runner;
  /** What they do by the calendar. */
  readonly jobs: readonly Job[];
  /** Puts other rules to work; those that are new ask the store for their history. */
  readonly reload: Runner["reload"];
}

export interface DetectingPorts extends Pick<RunnerOptions, "bus" | "config" | "now" | "log"> {
  readonly store: LiveStore;
  readonly undo: Undo;
}

/** The detectors, their clock, and what they learn from the store. */
export const startDetecting = async ({ bus, config, store, now, log, undo }: DetectingPorts): Promise<Detecting> => {
  const memory = createHourMemory(store.current);
  const runner = createRunner({
    bus,
    config,
    snapshots: {
      load: (name, key) => store.current().snapshots.load(name, key),
      save: (name, key, version, bytes) => store.current().snapshots.save(name, key, version, bytes),
    },
    memory,
    now,
    log,
  });
  await runner.start();
  undo.add("detectors", () => runner.stop());
  const ticking = setInterval(() => void runner.tick(now()), TICK_MS);
  undo.add("tick", () => clearInterval(ticking));
  const sumUp = createRollupJob({ store: store.current, now, log });
  // What is there already is summed up first: a series that asked too early would be told that nothing is known of it.
  let isSummedUp = false;
  const hours = async (signal: AbortSignal): Promise<void> => {
    await sumUp(signal);
    isSummedUp = !signal.aborted;
    await recall();
    const judged = await runner.lookAtHours(now());
    if (judged > 0) log.debug({ series: judged }, "rules have looked at hours");
  };
  const recall = async (): Promise<void> => {
    const asked = isSummedUp ? await runner.recall() : 0;
    if (asked > 0) log.info({ series: asked }, "baselines have asked the store for their history");
  };
  const reload: Runner["reload"] = async (next) => {
    const changes = await runner.reload(next);
    // What cannot be done now is done by the next job.
    afterReload().catch((error: unknown) => log.warn({ error: String(error) }, "the store was not asked for history"));
    return changes;
  };
  const afterReload = async (): Promise<void> => {
    await recall();
    if (isSummedUp) await runner.lookAfterReload(now());
  };
  return {
    runner,
    reload,
    jobs: [
      // Some minutes after the hour: batches are late by seconds.
      { name: "hours", when: "4 * * * *", run: hours, isAtStart: true },
      // The parts that a merge replaces stay listed for eight minutes: by them the job tells what is new.
      { name: "rollups", when: "*/5 * * * *", run: sumUp },
      { name: "history", when: "*/5 * * * *", run: recall },
    ],
  };
};
