import type { Sink } from "../metrics/series-book.ts";
import type { Collector } from "./collector.ts";
import { ProcFile } from "./proc-file.ts";

export const load = (options: { proc: string; sink: Sink }): Collector => {
  const file = new ProcFile(`${options.proc}/loadavg`);
  const series = ["1m", "5m", "15m"].map((span) => options.sink.gauge(`system.cpu.load_average.${span}`, "{thread}"));
  return {
    name: "load",
    everyMs: 0,
    collect() {
      if (!file.read()) return;
      for (const one of series) one.record(file.number());
    },
    close: () => file.close(),
  };
};
