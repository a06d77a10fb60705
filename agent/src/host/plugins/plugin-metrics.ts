import type { Series, Sink } from "../metrics/series-book.ts";
import type { PluginMetric } from "./protocol.ts";

/** Of one plugin, for as long as the agent lives. Beyond it values are dropped and counted. */
export const PLUGIN_SERIES_MAX = 200;

interface Measured {
  readonly series: Series;
  /** null: handed on already. */
  value: number | null;
}

/** Keeps the newest value of each series until the agent's next tick: plugins measure when they like, series have one sample a tick. */
export class PluginMetrics {
  readonly #sink: Sink;
  readonly #plugin: string;
  readonly #measured = new Map<string, Measured>();
  /** Values that had no place any more. */
  dropped = 0;

  constructor(options: { sink: Sink; plugin: string }) {
    this.#sink = options.sink;
    this.#plugin = options.plugin;
  }

  take({ name, value, kind, unit, attributes }: PluginMetric): void {
    const labels = { ...attributes, plugin: this.#plugin };
    const key = JSON.stringify([kind, name, Object.entries(labels).sort()]);
    const known = this.#measured.get(key);
    if (known !== undefined) {
      known.value = value;
      return;
    }
    if (this.#measured.size >= PLUGIN_SERIES_MAX) {
      this.dropped += 1;
      return;
    }
    this.#measured.set(key, { series: this.#sink[kind](name, unit, labels), value });
  }

  handOn(): void {
    for (const measured of this.#measured.values()) {
      if (measured.value === null) continue;
      measured.series.record(measured.value);
      measured.value = null;
    }
  }
}
