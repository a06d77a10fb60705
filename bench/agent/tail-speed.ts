import { execFileSync } from "node:child_process";
import { join } from "node:path";

const CHILD = join(import.meta.dirname, "tail-process.ts");

/** Lines of a file on disk into spooled batches on disk, for each second of CPU, in a process of its own. */
export const tailLinesPerCpuS = (dir: string, lines: number): number => {
  const text = execFileSync(process.execPath, ["--disable-warning=ExperimentalWarning", CHILD, dir, String(lines)]);
  const { rows, cpu_s } = JSON.parse(text.toString()) as { rows: number; cpu_s: number };
  if (rows !== lines) throw new Error(`${rows} rows of ${lines} lines`);
  return rows / cpu_s;
};
