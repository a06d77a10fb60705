import { readdirSync, readFileSync } from "node:fs";

const TICKS_PER_S = 100;

export interface Usage {
  /** Of the tree's processes since their starts, and of their children that have ended. */
  readonly cpuS: number;
  readonly rssMb: number;
  /** Shared pages counted by their share. */
  readonly pssMb: number;
}

/** What a process and all below it have taken; what ends while we look counts with its parent. */
export const usageOf = (root: number): Usage => {
  let [cpuS, rssKb, pssKb] = [0, 0, 0];
  for (const pid of treeOf(root)) {
    const stat = readOrNull(`/proc/${pid}/stat`);
    const rollup = readOrNull(`/proc/${pid}/smaps_rollup`);
    if (stat === null || rollup === null) continue;
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // utime, stime, cutime, cstime: fields 14 to 17 of proc_pid_stat(5).
    for (const index of [11, 12, 13, 14]) cpuS += Number(fields[index]) / TICKS_PER_S;
    rssKb += kilobytes(rollup, "Rss");
    pssKb += kilobytes(rollup, "Pss");
  }
  return { cpuS, rssMb: rssKb / 1024, pssMb: pssKb / 1024 };
};

export const treeOf = (root: number): number[] => {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    const stat = /^\d+$/.test(name) ? readOrNull(`/proc/${name}/stat`) : null;
    if (stat !== null) parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
  }
  const tree = [root];
  for (const pid of tree) for (const [child, parent] of parents) if (parent === pid) tree.push(child);
  return tree;
};

const kilobytes = (rollup: string, name: string): number =>
  Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(rollup)?.[1] ?? 0);

const readOrNull = (path: string): string | null => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // It has ended in the meantime.
    return null;
  }
};
