import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Log, ResourceLimits } from "@homeostat/schemas";

/** One group with limits, for one command and all that it starts. */
export interface Cgroup {
  /** A process that writes its pid into this file belongs to the group, and so do its children. */
  readonly procsFile: string;
  /** Ends everything in it. */
  kill(): void;
  /** What went against a limit so far, in words; empty: nothing. */
  verdict(): string;
  /** Ends everything in it, and takes the group away. */
  remove(): Promise<void>;
}

export interface Cgroups {
  create(name: string, limits: ResourceLimits & { readonly pids_max: number }): Cgroup;
}

export interface CgroupOptions {
  /** Where cgroup v2 is mounted. */
  readonly root: string;
  readonly proc: string;
  readonly pid: number;
  readonly log: Log;
  /** rmdir(2): the kernel takes its files away with the directory. */
  readonly removeDirectory?: (path: string) => void;
}

/** cpu.max: so much of each such period, in microseconds (the kernel's default). */
const CPU_PERIOD_US = 100_000;
const CONTROLLERS = "+cpu +memory +pids";
const REMOVE_TRIES = 50;
const REMOVE_WAIT_MS = 20;
const KILL_EVERY_TRIES = 10;

/**
 * Control groups below the agent's own, where it is alone in one that it may write to (a service with `Delegate=yes`); null elsewhere. No
 * group may hold both processes and groups with controllers (kernel: cgroup-v2, "No Internal Process Constraint"), so the agent moves
 * into a child of its own first. What an earlier agent left is ended.
 */
export const openCgroups = (options: CgroupOptions): Cgroups | null => {
  const { root, proc, pid, log } = options;
  const remove = options.removeDirectory ?? rmdirSync;
  try {
    const own = ownGroup(proc);
    if (own === null || !existsSync(join(root, "cgroup.controllers"))) return null;
    const base = own.endsWith("/homeostat-agent") ? join(root, own, "..") : join(root, own);
    if (!isOurs(base, pid)) return null;
    delegate(base, pid);
    const commands = join(base, "homeostat-commands");
    mkdirSync(commands, { recursive: true });
    for (const left of groupsIn(commands)) void removeGroup(join(commands, left), remove, log);
    writeFileSync(join(commands, "cgroup.subtree_control"), CONTROLLERS);
    return { create: (name, limits) => createGroup(join(commands, name), { limits, remove, log }) };
  } catch (error) {
    log.info({ error: String(error) }, "no control groups of its own: commands are limited by ulimit and nice");
    return null;
  }
};

/** `0::/system.slice/homeostat-agent.service`; null on hosts with cgroup v1 alone, and for the root of all groups. */
const ownGroup = (proc: string): string | null => {
  const line = readFileSync(join(proc, "self/cgroup"), "utf8")
    .split("\n")
    .find((one) => one.startsWith("0::"));
  const path = line?.slice("0::".length).trim() ?? "/";
  return path === "/" || path.split("/").includes("..") ? null : path;
};

/** Others' processes are never moved. In the group below it the supervisor may be, which has made that one. */
const isOurs = (base: string, pid: number): boolean => {
  const here = readFileSync(join(base, "cgroup.procs"), "utf8").split("\n").filter(Boolean);
  const controllers = readFileSync(join(base, "cgroup.controllers"), "utf8").split(/\s+/);
  return (
    here.every((one) => one === String(pid)) && ["cpu", "memory", "pids"].every((one) => controllers.includes(one))
  );
};

const delegate = (base: string, pid: number): void => {
  const leaf = join(base, "homeostat-agent");
  mkdirSync(leaf, { recursive: true });
  writeFileSync(join(leaf, "cgroup.procs"), String(pid));
  try {
    writeFileSync(join(base, "cgroup.subtree_control"), CONTROLLERS);
  } catch (error) {
    writeFileSync(join(base, "cgroup.procs"), String(pid));
    throw error;
  }
};

const groupsIn = (directory: string): string[] =>
  readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);

const createGroup = (
  path: string,
  options: {
    limits: ResourceLimits & { readonly pids_max: number };
    remove: (path: string) => void;
    log: Log;
  },
): Cgroup => {
  const { limits, remove, log } = options;
  mkdirSync(path);
  try {
    writeLimits(path, limits);
  } catch (error) {
    remove(path);
    throw error;
  }
  return {
    procsFile: join(path, "cgroup.procs"),
    kill: () => killAll(path),
    verdict: () => verdictOf(path, limits),
    remove: () => removeGroup(path, remove, log),
  };
};

const writeLimits = (path: string, limits: ResourceLimits & { readonly pids_max: number }): void => {
  const { cpu_percent, memory_bytes, pids_max } = limits;
  writeFileSync(join(path, "pids.max"), String(pids_max));
  if (cpu_percent !== undefined)
    writeFileSync(join(path, "cpu.max"), `${Math.round((cpu_percent / 100) * CPU_PERIOD_US)} ${CPU_PERIOD_US}`);
  if (memory_bytes === undefined) return;
  writeFileSync(join(path, "memory.max"), String(memory_bytes));
  // All of it or nothing: half a command is worse than none.
  writeFileSync(join(path, "memory.oom.group"), "1");
  // Not there on hosts without swap accounting.
  if (existsSync(join(path, "memory.swap.max"))) writeFileSync(join(path, "memory.swap.max"), "0");
};

const verdictOf = (path: string, limits: ResourceLimits & { readonly pids_max: number }): string => {
  const found: string[] = [];
  if (countIn(join(path, "memory.events"), "oom_kill") > 0)
    found.push(`it used more than ${limits.memory_bytes ?? "the host's"} bytes of memory`);
  if (countIn(join(path, "pids.events"), "max") > 0) found.push(`it wanted more than ${limits.pids_max} processes`);
  if (countIn(join(path, "cpu.stat"), "nr_throttled") > 0)
    found.push(`it was held to ${limits.cpu_percent} % of a core`);
  return found.join(", ");
};

/** Of a file of `name count` lines; 0 where it does not say. */
const countIn = (file: string, name: string): number => {
  if (!existsSync(file)) return 0;
  const line = readFileSync(file, "utf8")
    .split("\n")
    .find((one) => one.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1) ?? 0);
};

/** cgroup.kill is there since Linux 5.14; before, one after another. */
const killAll = (path: string): void => {
  if (!existsSync(path)) return;
  try {
    writeFileSync(join(path, "cgroup.kill"), "1");
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
    for (const pid of readFileSync(join(path, "cgroup.procs"), "utf8").split("\n").filter(Boolean))
      killOne(Number(pid));
  }
};

const killOne = (pid: number): void => {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
};

/** What was killed may take a moment to go; what stays is taken away at the next start. */
const removeGroup = async (path: string, remove: (path: string) => void, log: Log): Promise<void> => {
  let last: unknown = null;
  for (let attempt = 0; attempt < REMOVE_TRIES; attempt++) {
    try {
      if (!existsSync(path)) return;
      if (attempt % KILL_EVERY_TRIES === 0) killAll(path);
      remove(path);
      return;
    } catch (error) {
      last = error;
    }
    await delay(REMOVE_WAIT_MS, undefined, { ref: false });
  }
  log.warn({ path, error: String(last) }, "a control group could not be taken away");
};
