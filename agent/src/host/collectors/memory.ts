import type { Sink } from "../metrics/series-book.ts";
import type { Collector } from "./collector.ts";
import type { Meminfo } from "./meminfo.ts";

/** `used` is what free(1) calls used: all that neither is free nor can be had at once (proc_meminfo(5), MemAvailable). */
export const memory = (options: { meminfo: Meminfo; sink: Sink }): Collector => {
  const { meminfo } = options;
  const states = ["used", "free", "available", "buffers", "cached"] as const;
  const usage = states.map((state) => options.sink.gauge("system.memory.usage", "By", { state }));
  const utilization = states.map((state) => options.sink.gauge("system.memory.utilization", "1", { state }));
  const limit = options.sink.gauge("system.memory.limit", "By");
  const record = (state: number, bytes: number, total: number): void => {
    usage[state]?.record(bytes);
    utilization[state]?.record(bytes / total);
  };
  return {
    name: "memory",
    everyMs: 0,
    collect(nowUnixMs) {
      const read = meminfo.read(nowUnixMs);
      if (read === null) return;
      limit.record(read.MemTotal);
      record(0, read.MemTotal - read.MemAvailable, read.MemTotal);
      record(1, read.MemFree, read.MemTotal);
      record(2, read.MemAvailable, read.MemTotal);
      record(3, read.Buffers, read.MemTotal);
      record(4, read.Cached + read.SReclaimable, read.MemTotal);
    },
    close: () => meminfo.close(),
  };
};
