import { readFileSync } from "node:fs";
import { z } from "zod";

export interface VerbInput {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
  readonly out: (line: string) => void;
  readonly err: (line: string) => void;
}

/** Resolves with the exit code: 0 done, 1 failed or not healed, 2 called wrongly. */
export type Verb = (input: VerbInput) => Promise<number>;

export const VERSION: string = z
  .object({ version: z.string() })
  .parse(JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"))).version;
