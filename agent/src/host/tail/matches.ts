import { readdirSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { LogSource } from "../config.ts";

/** A log file as it stands on disk. */
export interface Match {
  readonly path: string;
  readonly source: LogSource;
  /** Device and inode. */
  readonly key: string;
  readonly size: number;
  readonly mtimeMs: number;
}

export interface Matches {
  readonly files: readonly Match[];
  /** What could not be looked at, one line; null when all could. */
  readonly problem: string | null;
}

/** The regular files that a source names. What is not there is no problem: it may come. */
export const matchesOf = (source: LogSource): Matches => {
  const files: Match[] = [];
  const refused: string[] = [];
  const look = (path: string): void => {
    try {
      const stat = statSync(path, { throwIfNoEntry: false });
      if (!stat?.isFile()) return;
      files.push({ path, source, key: `${stat.dev}:${stat.ino}`, size: stat.size, mtimeMs: stat.mtimeMs });
    } catch (error) {
      refused.push(`cannot open ${path}: ${codeOf(error)}`);
    }
  };
  const directory = dirname(source.path);
  const pattern = basename(source.path);
  if (!pattern.includes("*")) look(source.path);
  else {
    const matches = new RegExp(`^${pattern.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*")}$`, "s");
    try {
      for (const name of readdirSync(directory)) if (matches.test(name)) look(join(directory, name));
    } catch (error) {
      if (codeOf(error) !== "ENOENT") refused.push(`cannot list ${directory}: ${codeOf(error)}`);
    }
  }
  return { files, problem: withMore(refused) };
};

/** The first, and how many more there are. */
export const withMore = ([first, ...more]: readonly string[]): string | null => {
  if (first === undefined) return null;
  return more.length === 0 ? first : `${first} (and ${more.length} more)`;
};

/** The path of this file in a directory; null when it is not there. */
export const findByKey = (directory: string, key: string): string | null => {
  try {
    for (const name of readdirSync(directory)) {
      const path = join(directory, name);
      const stat = statSync(path, { throwIfNoEntry: false });
      if (stat?.isFile() && `${stat.dev}:${stat.ino}` === key) return path;
    }
    return null;
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "EACCES") return null;
    throw error;
  }
};

export const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : String(error);
