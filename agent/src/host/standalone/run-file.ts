import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { StandaloneConfig } from "./standalone-config.ts";

/** What the resident agent is started with: checked already, so that it needs to know neither YAML nor zod. */
export interface RunFile {
  readonly config: StandaloneConfig;
  readonly configFile: string;
  readonly version: string;
}

export const runFilePath = (dir: string): string => join(dir, "run.json");

/** May hold what services are given: its owner's alone. */
export const writeRunFile = (run: RunFile): string => {
  const path = runFilePath(run.config.dir);
  writeFileSync(`${path}.new`, JSON.stringify(run), { mode: 0o600 });
  renameSync(`${path}.new`, path);
  return path;
};

/** Ours alone, written a moment ago by the same release. */
export const readRunFile = (path: string): RunFile => JSON.parse(readFileSync(path, "utf8")) as RunFile;
