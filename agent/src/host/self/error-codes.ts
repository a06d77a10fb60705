/** What can trouble an agent, as the label `code` of the counter homeostat.agent.errors. docs/AGENT.md has the same list. */
export const ERROR_CODES = [
  "spool",
  "channel",
  "clock",
  "tail",
  "collector",
  "service",
  "command",
  "plugin",
  "limit",
  "update",
  "other",
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

/** By how the agent's parts begin their problems. First match counts. */
const BEGINNINGS: readonly (readonly [RegExp, ErrorCode])[] = [
  [/^the spool/, "spool"],
  [/^(the platform cannot be reached|no heartbeat|no commands can be received|the channel)/, "channel"],
  [/^the clock/, "clock"],
  [/^(cannot (read|list|open) |more than \d+ log files)/, "tail"],
  [/^(collector |path |too many series)/, "collector"],
  [/^service /, "service"],
  [/^(command|the journal of commands)/, "command"],
  [/^plugin/, "plugin"],
  [/^the agent slows itself down/, "limit"],
  [/^(update|version )/, "update"],
];

export const codeOfProblem = (problem: string): ErrorCode =>
  BEGINNINGS.find(([beginning]) => beginning.test(problem))?.[1] ?? "other";
