import { appendFileSync, mkdirSync, renameSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Log } from "@homeostat/schemas";
import type { LogSource } from "../config.ts";
import { Allowance } from "./allowance.ts";
import type { PluginLogEntry } from "./protocol.ts";

/** Below the agent's directory; a source of the log tail (`format: json`) brings what plugins say to where all logs are. */
export const PLUGIN_LOGS = "plugin-logs";
export const pluginLogSource = (dir: string): LogSource => ({
  path: join(dir, PLUGIN_LOGS, "*.log"),
  service: "homeostat-plugins",
  format: "json",
  read_from: "beginning",
});
/** The file is set aside as `.1` beyond this: at most twice as much for each plugin. */
const FILE_BYTES_MAX = 1_048_576;
const LINE_CHARS_MAX = 8_192;
const LINES_BURST = 500;
const LINES_PER_SECOND = 50;

/** What one plugin says of itself, as JSON lines in a file of its own: it is there also when nothing can be sent. */
export class PluginLog {
  readonly #name: string;
  readonly #path: string;
  readonly #now: () => number;
  readonly #agentLog: Log;
  readonly #lines: Allowance;
  #bytes = 0;
  #suppressed = 0;
  #isFailing = false;

  constructor(options: { name: string; dir: string; now: () => number; log: Log }) {
    this.#name = options.name;
    this.#path = join(options.dir, PLUGIN_LOGS, `${options.name}.log`);
    this.#now = options.now;
    this.#agentLog = options.log;
    this.#lines = new Allowance({ burst: LINES_BURST, perSecond: LINES_PER_SECOND, now: options.now });
    mkdirSync(join(options.dir, PLUGIN_LOGS), { recursive: true, mode: 0o700 });
    this.#bytes = statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0;
  }

  /** A line of its stderr. */
  stderr(line: string): void {
    this.write({ body: line, severity: "info", attributes: { stream: "stderr" } });
  }

  write(entry: PluginLogEntry): void {
    if (!this.#lines.take(1)) {
      this.#suppressed += 1;
      return;
    }
    if (this.#suppressed > 0) {
      const body = `${this.#suppressed} lines were left out: more than ${LINES_PER_SECOND} a second`;
      this.#suppressed = 0;
      this.#append({ body, severity: "warn", attributes: {} });
    }
    this.#append(entry);
  }

  #append({ body, severity, attributes }: PluginLogEntry): void {
    const at = new Date(this.#now()).toISOString();
    const message = body.slice(0, LINE_CHARS_MAX);
    const line = `${JSON.stringify({ ...attributes, plugin: this.#name, time: at, level: severity, message })}\n`;
    try {
      if (this.#bytes > FILE_BYTES_MAX) {
        renameSync(this.#path, `${this.#path}.1`);
        this.#bytes = 0;
      }
      appendFileSync(this.#path, line, { mode: 0o600 });
      this.#bytes += Buffer.byteLength(line);
      this.#isFailing = false;
    } catch (error) {
      if (!this.#isFailing)
        this.#agentLog.warn({ plugin: this.#name, error: String(error) }, "cannot write what a plugin says");
      this.#isFailing = true;
    }
  }
}
