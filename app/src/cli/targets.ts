import type { TargetSelector } from "@homeostat/schemas";
import { UsageError } from "./verb.ts";

export interface TargetFlags {
  readonly on?: readonly string[] | undefined;
  readonly labels?: string | undefined;
  readonly site?: string | undefined;
  readonly percent?: string | undefined;
  readonly all: boolean;
}

export const numberIn = (flag: string, text: string, [min, max]: readonly [number, number]): number => {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (!Number.isFinite(value) || value < min || value > max)
    throw new UsageError(`--${flag} ${text}: want a number from ${min} to ${max}`);
  return value;
};

export const wholeNumberIn = (flag: string, text: string, range: readonly [number, number]): number => {
  const value = numberIn(flag, text, range);
  if (!Number.isInteger(value)) throw new UsageError(`--${flag} ${text}: want a whole number`);
  return value;
};

/** @throws UsageError when nothing or everything at once is named: a job for all says so. */
export const targetsOf = ({ on, labels, site, percent, all }: TargetFlags): TargetSelector => {
  const hosts = [...new Set((on ?? []).flatMap((names) => names.split(",")).map((name) => name.trim()))].filter(
    (name) => name !== "",
  );
  // In a script it is a variable that was never set: what else is named would mean far more hosts.
  if (on !== undefined && hosts.length === 0) throw new UsageError(`--on "${on.join()}": want HOST[,HOST…]`);
  if (all && (hosts.length > 0 || labels !== undefined || site !== undefined))
    throw new UsageError("--all is everybody: leave out --on, --labels and --site");
  if (!all && hosts.length === 0 && labels === undefined && site === undefined)
    throw new UsageError("say on which hosts: --on HOST[,HOST…], --labels EXPR, --site SITE, or --all");
  return {
    ...(hosts.length > 0 && { hosts }),
    ...(all ? { labels: "*" } : labels !== undefined && { labels }),
    ...(site !== undefined && { site }),
    ...(percent !== undefined && { percent: numberIn("percent", percent, [0.000_001, 100]) }),
  };
};
