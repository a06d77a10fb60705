import { type ExecFileOptions, execFile } from "node:child_process";
import { promisify } from "node:util";
import { failed, type Outcome, succeeded } from "../executor/executor.ts";
import { CLEAN_PATH } from "../executor/process-group.ts";
import type { Supervised } from "./supervised.ts";

// Made when it is needed: Node's part for child processes is not loaded before.
const run = (file: string, args: readonly string[], options: ExecFileOptions) =>
  promisify(execFile)(file, args, { ...options, encoding: "utf8" });
const POLL_MS = 2_000;
const SHOW_TIMEOUT_MS = 5_000;

/**
 * A unit that was stopped in order is `inactive`: somebody meant it, and to call it down would have it started against their will.
 * One that died is `failed` (systemd(1), "Units").
 */
const UP_BY_STATE: Readonly<Record<string, boolean>> = { active: true, reloading: true, failed: false };

/** A unit of systemd: asked with `systemctl show`, restarted with `systemctl restart`. */
export class SystemdUnit implements Supervised {
  readonly name: string;
  readonly #unit: string;
  readonly #systemctl: string;
  #isUp: boolean | null = null;
  #timer: NodeJS.Timeout | null = null;
  restarts = 0;
  problem: string | null = null;

  constructor(options: { name: string; unit: string; systemctl?: string }) {
    this.name = options.name;
    this.#unit = options.unit;
    this.#systemctl = options.systemctl ?? "/usr/bin/systemctl";
  }

  isUp(): boolean | null {
    return this.#isUp;
  }

  async begin(): Promise<void> {
    await this.#look();
    this.#timer = setInterval(() => void this.#look(), POLL_MS);
    this.#timer.unref();
  }

  async end(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  async restart(signal: AbortSignal): Promise<Outcome> {
    this.restarts += 1;
    try {
      await run(this.#systemctl, ["restart", "--", this.#unit], { env: { PATH: CLEAN_PATH }, signal });
    } catch (error) {
      return failed(`systemctl restart ${this.#unit}: ${error instanceof Error ? error.message : String(error)}`);
    }
    await this.#look();
    return this.#isUp === true
      ? succeeded(`${this.#unit} is active`)
      : failed(`${this.#unit} is not active after its restart`);
  }

  async #look(): Promise<void> {
    try {
      const options = { env: { PATH: CLEAN_PATH }, timeout: SHOW_TIMEOUT_MS };
      const { stdout } = await run(this.#systemctl, ["show", "--property=ActiveState", "--", this.#unit], options);
      const state = /^ActiveState=(.*)$/m.exec(stdout)?.[1];
      this.#isUp = UP_BY_STATE[state ?? ""] ?? null;
      this.problem = null;
    } catch (error) {
      this.#isUp = null;
      this.problem =
        `cannot ask systemd about ${this.#unit}: ${error instanceof Error ? error.message : String(error)}`.slice(
          0,
          500,
        );
    }
  }
}
