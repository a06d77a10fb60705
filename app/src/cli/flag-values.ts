import { AgentRow } from "@homeostat/analytics";
import { AgentIdentity, InvocationState, JobState, Risk } from "@homeostat/schemas";
import { UsageError } from "./verb.ts";

const KINDS = ["agent", "site"];

/** Values of flags that take one of a few words, by flag; a name with a verb in front goes before the plain one. */
export const FLAG_VALUES: Readonly<Record<string, readonly string[]>> = {
  risk: Risk.options,
  "jobs state": JobState.options,
  "job state": InvocationState.options,
  "agents state": AgentRow.shape.state.options,
  "report format": ["markdown", "html", "json"],
  "enroll token for": KINDS,
  "enroll revoke for": KINDS,
  "enroll readmit for": KINDS,
  "enroll list state": AgentIdentity.shape.state.options,
};

/** @throws UsageError for a word that is none of them. */
export const wordIn = <Word extends string>(flag: string, text: string, words: readonly Word[]): Word => {
  const found = words.find((word) => word === text);
  if (found === undefined) throw new UsageError(`--${flag} ${text}: want one of ${words.join(", ")}`);
  return found;
};

/** One or more, with commas. */
export const wordsIn = <Word extends string>(flag: string, text: string, words: readonly Word[]): ReadonlySet<Word> =>
  new Set(text.split(",").map((one) => wordIn(flag, one.trim(), words)));
