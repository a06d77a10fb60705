import type { Log, ResourceLimits } from "@homeostat/schemas";
import { type Cgroups, openCgroups } from "./cgroup.ts";

export interface Program {
  readonly command: string;
  readonly args: readonly string[];
}

export interface Exit {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stderr: string;
}

/** A program with limits around it. */
export interface Confined extends Program {
  started(pid: number): void;
  /** Ends all of it that a signal to its group does not reach. */
  kill(): void;
  /** Which limit ended it, in words; empty: none. To be asked before `ended`. */
  verdict(exit: Exit): string;
  ended(): void;
}

/** Puts limits around a program before it is started. */
export type Confine = (program: Program, limits: ResourceLimits, timeoutMs?: number) => Confined;

/** What a command may cost is what others do not need: less urgent than everything else, but for what is less urgent still. */
const NICE = 10;
/** Without a time limit, CPU time is not limited either. */
const KIB = 1024;
/** SIGXCPU first, SIGKILL when it goes on for this long. */
const CPU_SECONDS_GRACE = 2;

export const confineBy = (options: { cgroups: Cgroups | null; pidsMax: number }): Confine => {
  const { cgroups, pidsMax } = options;
  let created = 0;
  return (program, limits, timeoutMs) => {
    if (cgroups === null) return byUlimit(program, limits, timeoutMs);
    const group = cgroups.create(`${process.pid}-${++created}`, { ...limits, pids_max: pidsMax });
    return {
      command: "/bin/sh",
      // The words are ours alone; what is run and its arguments never become part of the shell's text. Outside of the group it does not run.
      args: ["-c", 'echo $$ > "$0" && exec "$@"', group.procsFile, program.command, ...program.args],
      started: () => undefined,
      kill: () => group.kill(),
      verdict: () => group.verdict(),
      ended: () => void group.remove(),
    };
  };
};

/** As the host has it; control groups are looked for when they are first needed. */
export const confineOnThisHost = (options: {
  cgroup: "auto" | "off";
  pidsMax: number;
  proc: string;
  log: Log;
}): Confine => {
  let confine: Confine | null = null;
  return (program, limits, timeoutMs) => {
    confine ??= confineBy({
      cgroups:
        options.cgroup === "off"
          ? null
          : openCgroups({ root: "/sys/fs/cgroup", proc: options.proc, pid: process.pid, log: options.log }),
      pidsMax: options.pidsMax,
    });
    return confine(program, limits, timeoutMs);
  };
};

/** Whichever is less. */
export const lesserLimits = (a: ResourceLimits, b: ResourceLimits): ResourceLimits => {
  const least = (one: number | undefined, other: number | undefined) =>
    one === undefined ? other : Math.min(one, other ?? one);
  const [cpu_percent, memory_bytes] = [least(a.cpu_percent, b.cpu_percent), least(a.memory_bytes, b.memory_bytes)];
  return {
    ...(cpu_percent === undefined ? {} : { cpu_percent }),
    ...(memory_bytes === undefined ? {} : { memory_bytes }),
  };
};

/**
 * POSIX ulimit, for each process by itself: the data segment and private memory (RLIMIT_DATA, since Linux 4.7: address space alone is
 * reserved by the terabyte by runtimes that use little), CPU time as its share of the time limit, and a lower priority.
 */
const byUlimit = (program: Program, limits: ResourceLimits, timeoutMs?: number): Confined => {
  const { cpu_percent, memory_bytes } = limits;
  const cpuSeconds =
    cpu_percent === undefined || timeoutMs === undefined ? null : Math.ceil((timeoutMs / 1000) * (cpu_percent / 100));
  const steps = [
    ...(memory_bytes === undefined ? [] : [`ulimit -d ${Math.floor(memory_bytes / KIB)}`]),
    ...(cpuSeconds === null ? [] : [`ulimit -S -t ${cpuSeconds} && ulimit -H -t ${cpuSeconds + CPU_SECONDS_GRACE}`]),
    `exec ${cpu_percent === undefined ? "" : `nice -n ${NICE} `}"$0" "$@"`,
  ];
  const nothing = () => undefined;
  const verdict = (exit: Exit) => {
    if (cpuSeconds !== null && ["SIGXCPU"].includes(exit.signal ?? ""))
      return `it used more than ${cpuSeconds} s of CPU time (${cpu_percent} % of a core)`;
    const isLikely = MEMORY_SIGNALS.has(exit.signal ?? "") || (exit.code !== 0 && OUT_OF_MEMORY.test(exit.stderr));
    return memory_bytes !== undefined && isLikely
      ? `it seems to have wanted more than ${memory_bytes} bytes of memory`
      : "";
  };
  if (steps.length === 1 && cpu_percent === undefined)
    return { ...program, started: nothing, kill: nothing, verdict, ended: nothing };
  return {
    command: "/bin/sh",
    args: ["-c", steps.join(" && "), program.command, ...program.args],
    started: nothing,
    kill: nothing,
    verdict,
    ended: nothing,
  };
};

/** How programs end that are denied memory: ulimit itself does not say. */
const MEMORY_SIGNALS = new Set(["SIGSEGV", "SIGABRT", "SIGBUS", "SIGTRAP"]);
const OUT_OF_MEMORY = /cannot allocate memory|out of memory|memoryerror|bad_alloc|memory exhausted/i;
