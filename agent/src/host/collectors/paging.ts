import type { Sink } from "../metrics/series-book.ts";
import type { Collector } from "./collector.ts";
import { Meminfo } from "./meminfo.ts";

/** Swap. A machine without any has no utilization: 0 of 0 is no number. */
export const paging = (options: { proc: string; sink: Sink }): Collector => {
  const meminfo = new Meminfo(options.proc, ["SwapTotal", "SwapFree"]);
  const used = options.sink.gauge("system.paging.usage", "By", { state: "used" });
  const unused = options.sink.gauge("system.paging.usage", "By", { state: "free" });
  const utilization = options.sink.gauge("system.paging.utilization", "1", { state: "used" });
  return {
    name: "paging",
    everyMs: 0,
    collect() {
      if (!meminfo.read()) return;
      const [total = 0, free = 0] = meminfo.values;
      used.record(total - free);
      unused.record(free);
      if (total > 0) utilization.record((total - free) / total);
    },
    close: () => meminfo.close(),
  };
};
