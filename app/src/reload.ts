import type { NotReloaded, Reloaded } from "@homeostat/analytics";
import type { RuleChanges } from "@homeostat/detectors";
import { canonicalJson, type Log } from "@homeostat/schemas";
import { type Options, OptionsError } from "./options.ts";

export interface ReloadPorts {
  /** What the platform runs on. */
  readonly options: Options;
  /** Reads the configuration anew; null where it was started without one. @throws OptionsError */
  readonly read: (() => Options) | null;
  /** Puts these rules to work; null where no detectors run. */
  readonly apply: ((detectors: Options["detectors"]) => Promise<RuleChanges>) | null;
  readonly log: Log;
}

export interface Reload {
  /** Reads and applies; one after the other when called again meanwhile. */
  run(): Promise<Reloaded | NotReloaded>;
  /** Why the last reading was refused; null when it was not. */
  problem(): string | null;
}

/** The folder of rules is read with the file that names it. */
const TAKEN_UP: ReadonlySet<string> = new Set(["detectors", "rules_dir"]);

const changedKeys = (before: Options, after: Options): readonly string[] =>
  Object.keys({ ...before, ...after }).filter((key) => {
    const [old, now] = [before, after].map((options) =>
      canonicalJson(Object.entries(options).filter(([name]) => name === key)),
    );
    return old !== now;
  });

/** The rules may be changed while the platform runs; all else waits for a restart, and the answer says so. */
export const createReload = ({ options: first, read, apply, log }: ReloadPorts): Reload => {
  let detectors = first.detectors;
  let problem: string | null = null;
  let turn: Promise<unknown> = Promise.resolve();

  const refuse = (error: OptionsError): NotReloaded => {
    problem = `the changed configuration is refused, the rules before it stay at work: ${error.problems.join("; ")}`;
    log.error({ problems: error.problems }, "the changed configuration is refused; the rules before it stay at work");
    return { message: "the configuration is refused; the rules before it stay at work", problems: error.problems };
  };

  const once = async (): Promise<Reloaded | NotReloaded> => {
    if (read === null || apply === null)
      return { message: "there are no detectors, or no configuration file, to reload", problems: [] };
    let next: Options;
    try {
      next = read();
    } catch (error) {
      return refuse(
        error instanceof OptionsError
          ? error
          : new OptionsError("the configuration", [
              `cannot be read: ${error instanceof Error ? error.message : String(error)}`,
            ]),
      );
    }
    problem = null;
    const needs_restart = changedKeys(first, next).filter((key) => !TAKEN_UP.has(key));
    if (canonicalJson(next.detectors) === canonicalJson(detectors))
      return { added: [], changed: [], removed: [], unchanged: [], needs_restart };
    const changes = await apply(next.detectors);
    detectors = next.detectors;
    log.info({ ...changes, unchanged: changes.unchanged.length, needs_restart }, "other rules are at work");
    return { ...changes, needs_restart };
  };

  return {
    run: () => {
      const done = turn.then(once);
      turn = done.catch(() => undefined);
      return done;
    },
    problem: () => problem,
  };
};
