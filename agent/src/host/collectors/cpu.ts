import type { Sink } from "../metrics/series-book.ts";
import type { Collector } from "./collector.ts";
import { ascii, ProcFile } from "./proc-file.ts";

/** Fields of the `cpu` line of /proc/stat in order (proc_stat(5)); guest time is within user time already. */
const STATES = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"] as const;
const CPU = ascii("cpu ");

/** Shares of the machine's whole CPU time since the last call, by state, as `system.cpu.utilization`. */
export const cpu = (options: { proc: string; sink: Sink }): Collector => {
  const file = new ProcFile(`${options.proc}/stat`);
  const series = STATES.map((state) => options.sink.gauge("system.cpu.utilization", "1", { state }));
  let last = new Float64Array(STATES.length);
  let current = new Float64Array(STATES.length);
  let isFirst = true;
  return {
    name: "cpu",
    everyMs: 0,
    collect() {
      if (!file.read() || !file.skip(CPU)) return;
      let total = 0;
      let isReset = isFirst;
      for (let state = 0; state < STATES.length; state++) {
        const jiffies = file.number();
        current[state] = jiffies;
        const delta = jiffies - (last[state] ?? 0);
        // iowait may step back by itself (proc_stat(5)): that is no share of anything.
        if (delta < 0 && state !== 4) isReset = true;
        total += Math.max(0, delta);
      }
      if (!isReset && total > 0)
        for (let state = 0; state < STATES.length; state++)
          series[state]?.record(Math.max(0, (current[state] ?? 0) - (last[state] ?? 0)) / total);
      [last, current] = [current, last];
      isFirst = false;
    },
    close: () => file.close(),
  };
};
