import { existsSync, readFileSync, statSync } from "node:fs";
import { type Options, parseOptions } from "../options.ts";
import { readOptions } from "../read-options.ts";
import { DEFAULT_CONFIG } from "./configuration-file.ts";

export const DEFAULTS = "built-in defaults";

/** The file that was asked for, or ./homeostat.yaml when there is one, or the built-in defaults. */
export const readConfiguration = (path: string | null): Configuration => {
  if (path === null && !existsSync(DEFAULT_CONFIG))
    return { options: parseOptions("", DEFAULTS), source: DEFAULTS, read: null };
  const source = path ?? DEFAULT_CONFIG;
  // A pipe, as of a shell's <(…), is read once and has nothing to follow.
  if (!statSync(source).isFile()) return { options: readOptions(source, readPipe), source, read: null };
  return { options: readOptions(source), source, read: () => readOptions(source) };
};

const readPipe = (path: string): string => readFileSync(path, "utf8");

export interface Configuration {
  readonly options: Options;
  readonly source: string;
  /** Reads it anew; null where there is no file to read again. */
  readonly read: (() => Options) | null;
}
