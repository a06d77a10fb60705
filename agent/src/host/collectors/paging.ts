import type { Sink } from "../metrics/series-book.ts";
import type { Collector } from "./collector.ts";
import type { Meminfo } from "./meminfo.ts";

/** Swap. A machine without any has no utilization: 0 of 0 is no number. */
export const paging = (options: { meminfo: Meminfo; sink: Sink }): Collector => {
  const { meminfo } = options;
  const used = options.sink.gauge("system.paging.usage", "By", { state: "used" });
  const unused = options.sink.gauge("system.paging.usage", "By", { state: "free" });
  const utilization = options.sink.gauge("system.paging.utilization", "1", { state: "used" });
  return {
    name: "paging",
    everyMs: 0,
    collect(nowUnixMs) {
      const read = meminfo.read(nowUnixMs);
      if (read === null) return;
      const { SwapTotal: total, SwapFree: free } = read;
      used.record(total - free);
      unused.record(free);
      if (total > 0) utilization.record((total - free) / total);
    },
    close: () => meminfo.close(),
  };
};
