import type { ProcFile } from "./proc-file.ts";

/** USER_HZ, which every Linux that Node runs on has at 100 (proc_pid_stat(5), sysconf(3)). */
export const TICKS_PER_S = 100;
/** Fields of statm are pages; Node's platforms use 4 KiB, but for arm64 kernels built otherwise: so VmRSS is taken from rss here only with that caveat. */
const PAGE_BYTES = 4096;

export interface ProcessStat {
  readonly state: string;
  readonly group: number;
  readonly cpuTicks: number;
  /** Ticks since boot: with the pid it names a process for as long as the machine runs. */
  readonly startTicks: number;
  readonly rssBytes: number;
}

/** Reads /proc/PID/stat; null when the process is gone. The command may hold spaces and brackets: fields are counted from the last `)`. */
export const readProcessStat = (file: ProcFile): ProcessStat | null => {
  if (!file.read() || file.length === 0) return null;
  file.at = file.bytes.lastIndexOf(")", file.length - 1) + 1;
  const state = file.word();
  file.skipWords(1);
  const group = file.number();
  file.skipWords(8);
  const cpuTicks = file.number() + file.number();
  file.skipWords(6);
  const startTicks = file.number();
  file.skipWords(1);
  return { state, group, cpuTicks, startTicks, rssBytes: file.number() * PAGE_BYTES };
};

/** A zombie has ended; nobody has fetched its exit code yet. */
export const isAlive = (stat: ProcessStat | null): stat is ProcessStat =>
  stat !== null && stat.state !== "Z" && stat.state !== "X";
