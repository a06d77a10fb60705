import type { Sink } from "../metrics/series-book.ts";
import type { Collector } from "./collector.ts";

/** What the collector needs to know of a supervised service. */
export interface ServiceStatus {
  readonly name: string;
  /** null while nobody knows. */
  isUp(): boolean | null;
  readonly restarts: number;
}

export const service = (options: { sink: Sink; services: readonly ServiceStatus[] }): Collector => {
  const watched = options.services.map((status) => ({
    status,
    up: options.sink.gauge("homeostat.service.up", "1", { "service.name": status.name }),
    restarts: options.sink.counter("homeostat.service.restarts", "{restart}", { "service.name": status.name }),
  }));
  return {
    name: "service",
    everyMs: 0,
    collect() {
      for (const { status, up, restarts } of watched) {
        const isUp = status.isUp();
        if (isUp !== null) up.record(isUp ? 1 : 0);
        restarts.record(status.restarts);
      }
    },
  };
};
