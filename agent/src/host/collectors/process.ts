import { readdirSync, readFileSync, statSync } from "node:fs";
import type { ProcessOfInterest } from "../config.ts";
import type { Series, Sink } from "../metrics/series-book.ts";
import type { Collector } from "./collector.ts";
import { ProcFile } from "./proc-file.ts";
import { isAlive, readProcessStat, TICKS_PER_S } from "./process-stat.ts";

const SCAN_EVERY_MS = 5_000;
const DESCRIPTORS_EVERY_MS = 5_000;
/** A process may exec and become another: what did not match is looked at again after this. */
const RECHECK_MS = 30_000;
const PIDS_MAX = 4_096;
const MATCHED_MAX = 512;

interface Watched {
  readonly file: ProcFile;
  readonly startTicks: number;
  readonly group: Group;
  cpuTicks: number;
}

interface Group {
  readonly match: string;
  readonly cpu: Series;
  readonly memory: Series;
  readonly descriptors: Series;
  readonly count: Series;
  cpuTicks: number;
  rssBytes: number;
  processes: number;
  openDescriptors: number;
}

/** Sums over all processes of one name: CPU as a share of the whole machine (as OpenTelemetry has it), resident memory, open descriptors, their number. */
export const processes = (options: {
  proc: string;
  sink: Sink;
  cpuCount: number;
  watch: readonly ProcessOfInterest[];
}): Collector => {
  const { proc, sink, cpuCount } = options;
  const groups = options.watch.map(({ name, match }): Group => {
    const labels = { "process.name": name };
    return {
      match,
      cpu: sink.gauge("process.cpu.utilization", "1", labels),
      memory: sink.gauge("process.memory.usage", "By", labels),
      descriptors: sink.gauge("process.open_file_descriptors", "{file_descriptor}", labels),
      count: sink.gauge("homeostat.process.count", "{process}", labels),
      cpuTicks: 0,
      rssBytes: 0,
      processes: 0,
      openDescriptors: 0,
    };
  });
  const watched = new Map<string, Watched>();
  const strangers = new Map<string, number>();
  let scannedAtUnixMs = Number.NEGATIVE_INFINITY;
  let descriptorsAtUnixMs = Number.NEGATIVE_INFINITY;
  let lastUnixMs: number | null = null;

  const scan = (nowUnixMs: number) => {
    scannedAtUnixMs = nowUnixMs;
    let looked = 0;
    for (const name of readdirSync(proc)) {
      if (name < "0" || name > "9~" || watched.has(name) || (strangers.get(name) ?? 0) > nowUnixMs) continue;
      if (++looked > PIDS_MAX || watched.size >= MATCHED_MAX) break;
      const found = groupOf(proc, name, groups);
      if (found === null) strangers.set(name, nowUnixMs + RECHECK_MS);
      else begin(name, found);
    }
    for (const [pid, untilUnixMs] of strangers) if (untilUnixMs <= nowUnixMs) strangers.delete(pid);
  };
  const begin = (pid: string, group: Group) => {
    const file = new ProcFile(`${proc}/${pid}/stat`);
    const stat = readProcessStat(file);
    if (isAlive(stat)) watched.set(pid, { file, startTicks: stat.startTicks, group, cpuTicks: stat.cpuTicks });
    else file.close();
  };
  const measure = (withDescriptors: boolean) => {
    for (const [pid, one] of watched) {
      const stat = readProcessStat(one.file);
      if (!isAlive(stat) || stat.startTicks !== one.startTicks) {
        one.file.close();
        watched.delete(pid);
        continue;
      }
      one.group.cpuTicks += Math.max(0, stat.cpuTicks - one.cpuTicks);
      one.cpuTicks = stat.cpuTicks;
      one.group.rssBytes += stat.rssBytes;
      one.group.processes += 1;
      if (withDescriptors) one.group.openDescriptors += descriptorsOf(`${proc}/${pid}/fd`);
    }
  };
  return {
    name: "process",
    everyMs: 0,
    collect(nowUnixMs) {
      if (Math.abs(nowUnixMs - scannedAtUnixMs) >= SCAN_EVERY_MS) scan(nowUnixMs);
      const withDescriptors = Math.abs(nowUnixMs - descriptorsAtUnixMs) >= DESCRIPTORS_EVERY_MS;
      if (withDescriptors) descriptorsAtUnixMs = nowUnixMs;
      for (const group of groups) group.cpuTicks = group.rssBytes = group.processes = group.openDescriptors = 0;
      measure(withDescriptors);
      const elapsedS = lastUnixMs === null ? 0 : (nowUnixMs - lastUnixMs) / 1000;
      lastUnixMs = nowUnixMs;
      for (const group of groups) {
        group.count.record(group.processes);
        if (group.processes === 0) continue;
        group.memory.record(group.rssBytes);
        if (elapsedS > 0) group.cpu.record(group.cpuTicks / TICKS_PER_S / elapsedS / cpuCount);
        if (withDescriptors) group.descriptors.record(group.openDescriptors);
      }
    },
    close() {
      for (const { file } of watched.values()) file.close();
      watched.clear();
    },
  };
};

const groupOf = (proc: string, pid: string, groups: readonly Group[]): Group | null => {
  try {
    const comm = readFileSync(`${proc}/${pid}/comm`, "utf8").trimEnd();
    const exact = groups.find((group) => group.match === comm);
    if (exact !== undefined) return exact;
    const commandLine = readFileSync(`${proc}/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
    return groups.find((group) => commandLine.includes(group.match)) ?? null;
  } catch {
    // Gone between the listing and the look: normal.
    return null;
  }
};

const descriptorsOf = (directory: string): number => {
  try {
    // Since Linux 6.2 the directory's size is the number of open descriptors.
    const { size } = statSync(directory);
    return size > 0 ? size : readdirSync(directory).length;
  } catch {
    // Gone, or another user's.
    return 0;
  }
};
