import { readFileSync } from "node:fs";
import { z } from "zod";

export interface VerbInput {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
  /** What to do at SIGHUP instead of ending; at a terminal, where it means that the terminal is gone, it still ends. */
  readonly onHangup: (run: () => void) => void;
  readonly out: (line: string) => void;
  readonly err: (line: string) => void;
}

/** Resolves with the exit code: 0 done, 1 failed or not healed, 2 called wrongly; exit-code.ts has the others. */
export type Verb = (input: VerbInput) => Promise<number>;

/** What a shell says of a program that Ctrl-C ended. */
export const STOPPED_EARLY = 130;

/** Called wrongly: exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** @throws UsageError unless there is exactly one. */
export const one = (positionals: readonly string[], what: string): string => {
  const [value, ...rest] = positionals;
  if (value === undefined || value === "" || rest.length > 0) throw new UsageError(`give exactly one ${what}`);
  return value;
};

/** `homeostat dlq list`: a verb of verbs. */
export const verbsOf =
  (name: string, verbs: Readonly<Record<string, Verb>>): Verb =>
  async (input) => {
    const [which = "", ...args] = input.args;
    const verb = Object.hasOwn(verbs, which) ? verbs[which] : undefined;
    const known = Object.keys(verbs);
    if (verb === undefined)
      throw new UsageError(`${name} ${which}: want ${known.slice(0, -1).join(", ")} or ${known.at(-1)}`);
    return verb({ ...input, args });
  };

export const VERSION: string = z
  .object({ version: z.string() })
  .parse(JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"))).version;
