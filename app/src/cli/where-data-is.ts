import { existsSync } from "node:fs";
import { join } from "node:path";
import { readTextFile, readYaml } from "../yaml-file.ts";
import { DEFAULT_CONFIG } from "./configuration-file.ts";
import { UsageError } from "./verb.ts";

const DEFAULT_DATA_DIR = ".homeostat";

/**
 * The data directory of this machine's platform: as asked for, or as the configuration says that a start here would read, or the default.
 * Only that one key counts here, so that a mistake elsewhere in the file keeps nobody from asking a platform that runs.
 * @throws UsageError when the configuration cannot be read
 */
export const dataDirOf = (asked: string | undefined, folder = "."): string => {
  if (asked !== undefined) return asked;
  const path = join(folder, DEFAULT_CONFIG);
  if (!existsSync(path)) return DEFAULT_DATA_DIR;
  const { value, problems } = readConfig(path);
  const [problem] = problems;
  if (problem !== undefined) throw cannotTell(problem);
  const named = value !== null && typeof value === "object" && "data_dir" in value ? value.data_dir : DEFAULT_DATA_DIR;
  if (typeof named !== "string" || named === "") throw cannotTell("data_dir is no text");
  return named;
};

const readConfig = (path: string) => {
  try {
    return readYaml(readTextFile(path));
  } catch (error) {
    throw cannotTell(error instanceof Error ? error.message : String(error));
  }
};

const cannotTell = (why: string): UsageError =>
  new UsageError(`${DEFAULT_CONFIG} does not say where the platform's data is (${why}): name it with --data-dir`);
