import { CommandArgs, JobRequest, Risk } from "@homeostat/schemas";
import { z } from "zod";
import { parseDurationMs } from "../duration.ts";
import { wordIn } from "./flag-values.ts";
import { type TargetFlags, targetsOf, wholeNumberIn } from "./targets.ts";
import { UsageError } from "./verb.ts";

const HOSTS_MAX = 20_000;
const MEMORY_LEAST = 4 * 2 ** 20;
const MEMORY_UNITS: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

export interface RunFlags extends TargetFlags {
  readonly arg?: readonly string[] | undefined;
  readonly args?: string | undefined;
  readonly ramp?: boolean | undefined;
  readonly "no-ramp"?: boolean | undefined;
  readonly concurrency?: string | undefined;
  readonly "max-errors"?: string | undefined;
  readonly timeout?: string | undefined;
  readonly expires?: string | undefined;
  readonly cpu?: string | undefined;
  readonly memory?: string | undefined;
  readonly reason: string;
  readonly risk?: string | undefined;
}

/** @throws UsageError for what is no time, or none between these. */
export const durationIn = (flag: string, text: string, [least, most]: readonly [string, string]): number => {
  const ms = parseDurationMs(text);
  if (ms === null) throw new UsageError(`--${flag} ${text}: want a number and a unit, as 30s, 5m or 2h`);
  if (ms < (parseDurationMs(least) ?? 0)) throw new UsageError(`--${flag} ${text}: want at least ${least}`);
  if (ms > (parseDurationMs(most) ?? 0)) throw new UsageError(`--${flag} ${text}: want at most ${most}`);
  return ms;
};

/** Node's timers end at once when they are to wait for longer than 2^31 ms. */
const WAIT_MOST = "24d";

/** How long to wait for a job; null: until it has ended. */
export const waitForIn = (text: string | undefined): number | null =>
  text === undefined ? null : durationIn("wait-for", text, ["1s", WAIT_MOST]);

/** Numbers, true, false, and whatever is written as JSON; everything else is text, and so is JSON text (`--arg 'id="7"'`). */
const readValue = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
};

const argsOf = ({ arg, args }: Pick<RunFlags, "arg" | "args">): CommandArgs => {
  const all: Record<string, unknown> = {};
  if (args !== undefined) {
    const parsed = z.record(z.string(), z.unknown()).safeParse(readValue(args));
    if (!parsed.success) throw new UsageError(`--args ${args}: want a JSON object`);
    Object.assign(all, parsed.data);
  }
  for (const pair of arg ?? []) {
    const at = pair.indexOf("=");
    if (at < 1) throw new UsageError(`--arg ${pair}: want NAME=VALUE`);
    all[pair.slice(0, at)] = readValue(pair.slice(at + 1));
  }
  const parsed = CommandArgs.safeParse(all);
  if (!parsed.success)
    throw new UsageError(`arguments: ${parsed.error.issues.map(({ message }) => message).join("; ")}`);
  return parsed.data;
};

const bytesOf = (text: string): number => {
  const [, number = "", unit = ""] = /^(\d+)([KMG]?)i?B?$/.exec(text) ?? [];
  if (number === "") throw new UsageError(`--memory ${text}: want bytes, as 512M or 2G`);
  const bytes = Number(number) * (MEMORY_UNITS[unit] ?? 1);
  if (bytes < MEMORY_LEAST) throw new UsageError(`--memory ${text}: want at least 4M`);
  return bytes;
};

const limitsOf = ({ cpu, memory }: Pick<RunFlags, "cpu" | "memory">) => ({
  ...(cpu !== undefined && { cpu_percent: wholeNumberIn("cpu", cpu, [1, 100_000]) }),
  ...(memory !== undefined && { memory_bytes: bytesOf(memory) }),
});

const batchOf = (flags: RunFlags) => {
  if (flags.ramp === true && flags["no-ramp"] === true) throw new UsageError("give --ramp or --no-ramp, not both");
  const { concurrency, "max-errors": errors } = flags;
  return {
    ...((flags.ramp === true || flags["no-ramp"] === true) && { ramp: flags.ramp === true }),
    ...(concurrency !== undefined && { concurrency_max: wholeNumberIn("concurrency", concurrency, [1, HOSTS_MAX]) }),
    ...(errors !== undefined && { errors_max: wholeNumberIn("max-errors", errors, [0, HOSTS_MAX]) }),
  };
};

/** A name with a dot is an executor; a plain word is a command that the hosts' own configuration declares. */
export const jobRequestOf = (what: string, flags: RunFlags): JobRequest => {
  const args = argsOf(flags);
  const isExecutor = what.includes(".");
  const { timeout, expires, risk } = flags;
  const parsed = JobRequest.safeParse({
    executor: isExecutor ? what : "exec.run",
    args: isExecutor ? args : { name: what, args },
    targets: targetsOf(flags),
    batch: batchOf(flags),
    limits: limitsOf(flags),
    reason: flags.reason,
    ...(timeout !== undefined && { timeout_ms: durationIn("timeout", timeout, ["1s", "60m"]) }),
    ...(expires !== undefined && { expires_ms: durationIn("expires", expires, ["1s", "24h"]) }),
    ...(risk !== undefined && { risk: wordIn("risk", risk, Risk.options) }),
  });
  if (parsed.success) return parsed.data;
  throw new UsageError(parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`).join("\n"));
};
