import { setFlagsFromString } from "node:v8";

/** CPU of this much in one second is work: a backlog of logs, a storm of commands. */
const BUSY_MICROS_PER_S = 100_000;
const BUSY_FOR = 2;

/**
 * The agent is started with V8's optimising compilers at rest: an agent that only measures never needs them, and their code alone takes 8 MB
 * of resident memory. Once there is work they are switched on, and stay; hot code is then compiled as it is met (measured: log lines are read
 * 4 to 5 times as fast).
 */
export const createGear = (shift: () => void = useCompilers): { observe(cpuMicros: number, atMs: number): void } => {
  let last: { readonly cpuMicros: number; readonly atMs: number } | null = null;
  let busy = 0;
  let isHigh = false;
  return {
    observe(cpuMicros, atMs) {
      const before = last;
      last = { cpuMicros, atMs };
      if (isHigh || before === null || atMs <= before.atMs) return;
      const perSecond = ((cpuMicros - before.cpuMicros) / (atMs - before.atMs)) * 1000;
      busy = perSecond > BUSY_MICROS_PER_S ? busy + 1 : 0;
      if (busy < BUSY_FOR) return;
      isHigh = true;
      shift();
    },
  };
};

const useCompilers = (): void => {
  for (const flag of ["--sparkplug", "--maglev", "--opt"]) setFlagsFromString(flag);
};
