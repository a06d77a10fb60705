import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Dice } from "./dice.ts";
import type { Outcome, Target } from "./targets.ts";
import { Violation, type World } from "./world.ts";

/** So many inputs are handed over at once, as so many senders would. */
const GROUP = 64;
const CASE_MS_MAX = 1000;
const MIB = 1_048_576;

export interface Tally {
  readonly taken: number;
  readonly refused: number;
  readonly slowestMs: number;
}

const dumped = (input: Buffer): string => `${input.length} bytes, base64 ${input.subarray(0, 3000).toString("base64")}`;

/** Runs each input by itself, to find which one it was. */
const blame = async (target: Target, world: World, inputs: readonly Buffer[], why: string): Promise<never> => {
  for (const input of inputs) {
    const startedAt = performance.now();
    try {
      await target.runGroup(world, [input]);
    } catch (error) {
      throw new Violation(`${target.name}: ${String(error)}\ninput of ${dumped(input)}`, { cause: error });
    }
    const ms = performance.now() - startedAt;
    if (ms > CASE_MS_MAX)
      throw new Violation(`${target.name} took ${Math.round(ms)} ms for the input of ${dumped(input)}`);
  }
  throw new Violation(`${target.name}: ${why}, by none of its inputs alone`);
};

const runGroup = async (target: Target, world: World, inputs: readonly Buffer[]): Promise<readonly Outcome[]> => {
  const startedAt = performance.now();
  let outcomes: readonly Outcome[] = [];
  let error: unknown = null;
  try {
    outcomes = await target.runGroup(world, inputs);
  } catch (thrown) {
    error = thrown;
  }
  if (error !== null) return blame(target, world, inputs, String(error));
  const ms = performance.now() - startedAt;
  // A group may take longer than a case; only what one case takes by itself counts.
  if (ms > CASE_MS_MAX) await blameIfSlow(target, world, inputs);
  return outcomes;
};

const blameIfSlow = async (target: Target, world: World, inputs: readonly Buffer[]): Promise<void> => {
  for (const input of inputs) {
    const startedAt = process.cpuUsage();
    await target.runGroup(world, [input]);
    const { user, system } = process.cpuUsage(startedAt);
    const ms = (user + system) / 1000;
    if (ms > CASE_MS_MAX)
      throw new Violation(`${target.name} took ${Math.round(ms)} ms for the input of ${dumped(input)}`);
  }
};

/** @throws Violation with the input that broke a rule. */
export const campaign = async (
  target: Target,
  world: World,
  { cases, seed }: { readonly cases: number; readonly seed: number },
): Promise<Tally> => {
  const dice = new Dice(seed);
  let taken = 0;
  let slowestMs = 0;
  for (let done = 0; done < cases; done += GROUP) {
    const inputs = Array.from({ length: Math.min(GROUP, cases - done) }, () => target.make(dice));
    const startedAt = performance.now();
    for (const outcome of await runGroup(target, world, inputs)) if (outcome === "taken") taken++;
    slowestMs = Math.max(slowestMs, performance.now() - startedAt);
  }
  return { taken, refused: cases - taken, slowestMs };
};

/** What is held after a full garbage collection, MiB: the heap, buffers, and all that is resident. */
export const heldMib = (): { readonly heap: number; readonly buffers: number; readonly resident: number } => {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  if (typeof collect === "function") collect();
  const { heapUsed, external, rss } = process.memoryUsage();
  const [heap = 0, buffers = 0, resident = 0] = [heapUsed, external, rss].map((bytes) => Math.round(bytes / MIB));
  return { heap, buffers, resident };
};
