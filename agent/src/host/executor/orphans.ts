import { createHash } from "node:crypto";
import { ProcFile } from "../collectors/proc-file.ts";
import { isAlive, type ProcessStat, readProcessStat } from "../collectors/process-stat.ts";
import { markedProcesses } from "./marked-processes.ts";
import { signalGroup } from "./process-group.ts";

const MARK = "HOMEOSTAT_COMMAND";

export interface Child {
  readonly pid: number;
  readonly start_ticks: number;
}

/** Ids may hold anything; a digest may stand in an environment. `dir` and `host` tell the commands of several agents on one machine apart. */
export const markOf = (
  { dir, host }: { readonly dir: string; readonly host: string },
  commandId: string,
): { readonly name: string; readonly value: string } => ({
  name: MARK,
  value: createHash("sha256").update(`${dir}\0${host}\0${commandId}`).digest("hex"),
});

/** null when it has ended already. */
export const childOf = (proc: string, pid: number): Child | null => {
  const startTicks = statOf(proc, pid)?.startTicks;
  return startTicks === undefined ? null : { pid, start_ticks: startTicks };
};

/** Ends the group that the command ran in. What it has put into a group of its own, a daemon perhaps, is left alone, as after a normal end. */
export const killOrphan = (proc: string, mark: { name: string; value: string }, child: Child | null): boolean => {
  const marked = markedProcesses(proc, `${mark.name}=${mark.value}`);
  // Killed between the start and the note of the pid: the lowest of the marked ones is the one that we started.
  const leader = child?.pid ?? marked[0];
  if (leader === undefined) return false;
  const isSameLeader = child !== null && statOf(proc, leader)?.startTicks === child.start_ticks;
  if (!isSameLeader && !marked.some((pid) => statOf(proc, pid)?.group === leader)) return false;
  signalGroup(leader, "SIGKILL");
  return true;
};

const statOf = (proc: string, pid: number): ProcessStat | null => {
  const file = new ProcFile(`${proc}/${pid}/stat`);
  const stat = readProcessStat(file);
  file.close();
  return isAlive(stat) ? stat : null;
};
