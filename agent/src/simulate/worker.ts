import type { Log } from "@homeostat/schemas";
import { VirtualFleet } from "./virtual-fleet.ts";
import type { FromWorker, ToWorker } from "./worker-messages.ts";

/* A process of virtual agents, as its parent (simulate.ts) began it. It ends with its parent. */

const TELL_MS = 100;
/** Of one kind of trouble, told once in this time. */
const PROBLEM_MS = 1_000;

const say = (message: FromWorker): void => {
  if (process.connected) process.send?.(message);
};

let toldProblemMs = 0;
const onProblem = (message: string): void => {
  const now = performance.now();
  if (now - toldProblemMs < PROBLEM_MS) return;
  toldProblemMs = now;
  say({ type: "problem", message });
};

const quiet = (): void => undefined;
const log: Log = {
  debug: quiet,
  info: quiet,
  warn: (fields, message) => onProblem(`${message} ${JSON.stringify(fields)}`),
  error: (fields, message) => onProblem(`${message} ${JSON.stringify(fields)}`),
};

let fleet: VirtualFleet | null = null;
let telling: NodeJS.Timeout | null = null;

const tell = (): void => {
  if (fleet !== null) say({ type: "counts", counts: fleet.counts() });
};

const stop = async (): Promise<void> => {
  if (telling !== null) clearInterval(telling);
  await fleet?.stop();
  say({ type: "stopped" });
  process.exit(0);
};

const fail = (error: unknown): void => {
  say({ type: "failed", message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
};

process.on("message", (message: ToWorker) => {
  if (message.type === "stop") {
    stop().catch(fail);
    return;
  }
  fleet = new VirtualFleet(message.task, { log, onProblem, now: Date.now, random: Math.random });
  telling = setInterval(tell, TELL_MS);
  fleet.start().catch(fail);
});
process.on("disconnect", () => process.exit(0));
// The parent ends its workers: the interrupt of a terminal reaches all of them at once.
process.on("SIGINT", quiet);
