import type { Series, Sink } from "../metrics/series-book.ts";
import type { Collector } from "./collector.ts";
import { ProcFile } from "./proc-file.ts";

const COLON = 0x3a;
/** Loopback, and ends of containers' links, which come and go by the thousand. */
const SKIPPED = /^(?:lo|veth.*|ifb\d+|cali.*|lxc.*)$/;
/** The columns of /proc/net/dev, receive then transmit: bytes packets errs drop fifo frame|colls compressed|carrier multicast|compressed. */
const METRICS = [
  ["system.network.io", "By"],
  ["system.network.packets", "{packet}"],
  ["system.network.errors", "{error}"],
  ["system.network.dropped", "{packet}"],
] as const;

export const network = (options: { proc: string; sink: Sink }): Collector => {
  const file = new ProcFile(`${options.proc}/net/dev`);
  const interfaces = new Map<string, readonly Series[] | null>();
  const seriesOf = (name: string): readonly Series[] | null => {
    if (SKIPPED.test(name)) return null;
    return ["receive", "transmit"].flatMap((direction) =>
      METRICS.map(([metric, unit]) => options.sink.counter(metric, unit, { interface: name, direction })),
    );
  };
  return {
    name: "network",
    everyMs: 0,
    collect() {
      if (!file.read()) return;
      file.nextLine();
      file.nextLine();
      for (; file.hasMore; file.nextLine()) {
        const name = file.word(COLON);
        file.at++;
        let series = interfaces.get(name);
        if (series === undefined) {
          series = seriesOf(name);
          interfaces.set(name, series);
        }
        if (series === null) continue;
        for (let column = 0; column < 8; column++) {
          if (column === 4) file.skipWords(4);
          series[column]?.record(file.number());
        }
      }
    },
    close: () => file.close(),
  };
};
