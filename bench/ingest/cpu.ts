import { cpuSeconds } from "../peers/peer-process.ts";

/** What each of the processes uses while `run` runs. */
export const measureCpu = async <Name extends string>(
  pids: Readonly<Record<Name, number>>,
  run: () => Promise<void>,
): Promise<Record<Name, number>> => {
  const names = Object.keys(pids) as Name[];
  const before = names.map((name) => cpuSeconds(pids[name]));
  await run();
  const used = names.map((name, index) => [name, cpuSeconds(pids[name]) - (before[index] ?? 0)] as const);
  return Object.fromEntries(used) as Record<Name, number>;
};
