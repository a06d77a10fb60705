import type { Log } from "@homeostat/schemas";
import type { Sink } from "../metrics/series-book.ts";
import { PluginLog } from "./plugin-log.ts";
import { PluginMetrics } from "./plugin-metrics.ts";
import type { FromPlugin } from "./protocol.ts";

/** How often the agent's log is told of bad lines: the first, and each thousandth after it. */
const TELL_EVERY = 1_000;

/** Where all goes that a plugin says beside answers: metrics, its log, and the count of lines that made no sense. */
export class PluginVoice {
  readonly #name: string;
  readonly #log: Log;
  readonly #metrics: PluginMetrics;
  readonly #ownLog: PluginLog;
  badLines = 0;
  #lastBad = "";

  constructor(options: { name: string; dir: string; sink: Sink; now: () => number; log: Log }) {
    this.#name = options.name;
    this.#log = options.log;
    this.#metrics = new PluginMetrics({ sink: options.sink, plugin: options.name });
    this.#ownLog = new PluginLog(options);
  }

  /** True when it was neither metric nor log. */
  isAnswer(line: FromPlugin): line is Exclude<FromPlugin, { kind: "metric" | "log" }> {
    if (line.kind === "metric") this.#metrics.take(line.metric);
    else if (line.kind === "log") this.#ownLog.write(line.log);
    else return true;
    return false;
  }

  stderr(line: string): void {
    this.#ownLog.stderr(line);
  }

  bad(why: string): void {
    this.#lastBad = why;
    this.badLines += 1;
    if (this.badLines % TELL_EVERY !== 1) return;
    this.#log.warn({ plugin: this.#name, why, bad_lines: this.badLines }, "a plugin wrote a line that cannot be used");
    this.#ownLog.write({ body: `bad line: ${why}`, severity: "warn", attributes: {} });
  }

  handOnMetrics(): void {
    this.#metrics.handOn();
  }

  /** What was lost of what it said, for people; null when nothing was. */
  problem(): string | null {
    const parts = [
      ...(this.badLines === 0 ? [] : [`${this.badLines} bad lines, the last: ${this.#lastBad}`]),
      ...(this.#metrics.dropped === 0 ? [] : [`${this.#metrics.dropped} values of too many series dropped`]),
    ];
    return parts.length === 0 ? null : parts.join("; ");
  }
}
