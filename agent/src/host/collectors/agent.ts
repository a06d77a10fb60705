import type { Ledger } from "@homeostat/schemas";
import type { Series, Sink } from "../metrics/series-book.ts";
import type { LogFileCounts } from "../tail/tail.ts";
import type { Collector } from "./collector.ts";

/** The agent about itself: what it costs, and whether its ledger closes. */
export const agent = (options: {
  sink: Sink;
  /** Microseconds of CPU that this process has used. */
  cpuMicros: () => number;
  rssBytes: () => number;
  monotonicMs: () => number;
  spoolBytes: () => number;
  ledger: () => Ledger;
  /** null where no log files are followed. */
  logFiles: (() => LogFileCounts) | null;
}): Collector => {
  const { sink } = options;
  const cpu = sink.gauge("homeostat.agent.cpu.utilization", "{cpu}");
  const rss = sink.gauge("homeostat.agent.memory.usage", "By");
  const spool = sink.gauge("homeostat.agent.spool.usage", "By");
  const spooled = sink.gauge("homeostat.agent.rows.spooled", "{row}");
  const produced = sink.counter("homeostat.agent.rows.produced", "{row}");
  const delivered = sink.counter("homeostat.agent.rows.delivered", "{row}");
  const dropped = new Map<string, Series>();
  const recordFiles = options.logFiles === null ? () => undefined : logFilesRecorder(sink, options.logFiles);
  let last: { cpuMicros: number; atMs: number } | null = null;
  return {
    name: "agent",
    everyMs: 5_000,
    collect() {
      const now = { cpuMicros: options.cpuMicros(), atMs: options.monotonicMs() };
      if (last !== null) cpu.record((now.cpuMicros - last.cpuMicros) / 1000 / (now.atMs - last.atMs));
      last = now;
      rss.record(options.rssBytes());
      spool.record(options.spoolBytes());
      const ledger = options.ledger();
      produced.record(ledger.produced);
      delivered.record(ledger.delivered);
      spooled.record(ledger.spooled);
      for (const [reason, rows] of Object.entries(ledger.dropped)) {
        const series = dropped.get(reason) ?? sink.counter("homeostat.agent.rows.dropped", "{row}", { reason });
        dropped.set(reason, series);
        series.record(rows);
      }
      recordFiles();
    },
  };
};

const logFilesRecorder = (sink: Sink, logFiles: () => LogFileCounts): (() => void) => {
  const open = sink.gauge("homeostat.agent.log_files", "{file}", { state: "open" });
  const idle = sink.gauge("homeostat.agent.log_files", "{file}", { state: "idle" });
  /** Of patterns that have ever had files left out. */
  const leftOut = new Map<string, Series>();
  return () => {
    const files = logFiles();
    open.record(files.open);
    idle.record(files.idle);
    for (const pattern of files.leftOut.keys())
      if (!leftOut.has(pattern))
        leftOut.set(pattern, sink.gauge("homeostat.agent.log_files", "{file}", { state: "left_out", pattern }));
    for (const [pattern, series] of leftOut) series.record(files.leftOut.get(pattern) ?? 0);
  };
};
