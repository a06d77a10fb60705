import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Processes that carry this variable in their environment, lowest number first. What the agent starts is marked so, because a pid can only
 * be written down after the start, and the agent may be killed in between.
 */
export const markedProcesses = (proc: string, mark: string): number[] =>
  readdirSync(proc)
    .filter((name) => /^\d+$/.test(name) && environmentOf(join(proc, name)).includes(mark))
    .map(Number)
    .sort((a, b) => a - b);

/** Empty for what has ended, and for processes of other users: we started neither. */
const environmentOf = (directory: string): string[] => {
  try {
    return readFileSync(join(directory, "environ"), "utf8").split("\0");
  } catch {
    // Gone between the listing and the look, or not ours to see.
    return [];
  }
};
