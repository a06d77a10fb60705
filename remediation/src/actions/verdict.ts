import type { Facts, Verdict } from "@homeostat/schemas";
import type { Check } from "./fact-query.ts";

const COMPARE = {
  lt: (a: number, b: number) => a < b,
  le: (a: number, b: number) => a <= b,
  eq: (a: number, b: number) => a === b,
  ge: (a: number, b: number) => a >= b,
  gt: (a: number, b: number) => a > b,
} as const;

/** null when there is no number to judge: absence is never health. */
export const holds = (check: Check, facts: Facts): boolean | null => {
  const value = facts.values[check.fact];
  if (value === undefined || value === null || Number.isNaN(value)) return null;
  return COMPARE[check.op](value, check.value);
};

const distance = (check: Check, facts: Facts): number =>
  Math.abs((facts.values[check.fact] ?? check.value) - check.value);

/** healed: all checks hold. worse: one that held no longer does, or all that fail have moved further away. No checks, or no data: inconclusive. */
export const judge = (checks: readonly Check[], before: Facts, after: Facts): Verdict => {
  const now = checks.map((check) => holds(check, after));
  if (checks.length === 0 || now.includes(null)) return "inconclusive";
  if (!now.includes(false)) return "healed";
  const failing = checks.filter((_, index) => now[index] === false);
  if (failing.some((check) => holds(check, before) === true)) return "worse";
  const known = failing.every((check) => holds(check, before) !== null);
  const movedAway = failing.every((check) => distance(check, after) > distance(check, before));
  return known && movedAway ? "worse" : "unchanged";
};
