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

/** Resolves with the exit code: 0 done, 1 failed or not healed, 2 called wrongly. */
export type Verb = (input: VerbInput) => Promise<number>;

/** What a shell says of a program that Ctrl-C ended. */
export const STOPPED_EARLY = 130;

/** Called wrongly: exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export const VERSION: string = z
  .object({ version: z.string() })
  .parse(JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"))).version;
