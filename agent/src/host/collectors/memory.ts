import type { Sink } from "../metrics/series-book.ts";
import type { Collector } from "./collector.ts";
import { Meminfo } from "./meminfo.ts";

/** `used` is what free(1) calls used: all that neither is free nor can be had at once (proc_meminfo(5), MemAvailable). */
export const memory = (options: { proc: string; sink: Sink }): Collector => {
  const meminfo = new Meminfo(options.proc, [
    "MemTotal",
    "MemFree",
    "MemAvailable",
    "Buffers",
    "Cached",
    "SReclaimable",
  ]);
  const states = ["used", "free", "available", "buffers", "cached"] as const;
  const usage = states.map((state) => options.sink.gauge("system.memory.usage", "By", { state }));
  const utilization = states.map((state) => options.sink.gauge("system.memory.utilization", "1", { state }));
  const limit = options.sink.gauge("system.memory.limit", "By");
  return {
    name: "memory",
    everyMs: 0,
    collect() {
      if (!meminfo.read()) return;
      const [total = 0, free = 0, available = 0, buffers = 0, cached = 0, reclaimable = 0] = meminfo.values;
      limit.record(total);
      [total - available, free, available, buffers, cached + reclaimable].forEach((bytes, state) => {
        usage[state]?.record(bytes);
        utilization[state]?.record(bytes / total);
      });
    },
    close: () => meminfo.close(),
  };
};
