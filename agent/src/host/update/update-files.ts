import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

/** What the supervisor and the agent tell each other, one line each (bin/homeostat-agent.sh says what stands in which). */
export type UpdateFile = "current" | "previous" | "next" | "trial" | "healthy" | "exits" | `bad/${string}`;

/** The update that is under way, by the agent that began it. */
export interface PendingUpdate {
  readonly command_id: string;
  readonly version: string;
  readonly from: string;
}

const PENDING = "pending.json";

export const updateDir = (dir: string): string => join(dir, "update");
export const versionsDir = (dir: string): string => join(dir, "versions");

/** Empty when it is not there. */
export const readUpdateFile = (dir: string, name: UpdateFile): string =>
  (readOrNull(join(updateDir(dir), name)) ?? "").split("\n")[0] ?? "";

/** There, whole and durable, or as it was. */
export const writeUpdateFile = (dir: string, name: UpdateFile, line: string): void =>
  writeDurably(join(updateDir(dir), name), `${line}\n`);

/** A version that is never tried again on this host. */
export interface FailedVersion {
  readonly version: string;
  readonly reason: string;
  readonly at_unix_ms: number;
}

/** The one that failed last; null when none has. */
export const newestFailure = (dir: string): FailedVersion | null => {
  const folder = join(updateDir(dir), "bad");
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => !name.endsWith(".new")) : [];
  const failures = names.map((version) => ({
    version,
    reason: readUpdateFile(dir, `bad/${version}`),
    at_unix_ms: statSync(join(folder, version)).mtimeMs,
  }));
  return failures.toSorted((a, b) => b.at_unix_ms - a.at_unix_ms)[0] ?? null;
};

export const readPending = (dir: string): PendingUpdate | null => {
  const text = readOrNull(join(updateDir(dir), PENDING));
  return text === null ? null : (JSON.parse(text) as PendingUpdate);
};

export const writePending = (dir: string, pending: PendingUpdate): void =>
  writeDurably(join(updateDir(dir), PENDING), JSON.stringify(pending));

export const removePending = (dir: string): void => {
  rmSync(join(updateDir(dir), PENDING), { force: true });
};

const readOrNull = (path: string): string | null => {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
};

const writeDurably = (path: string, text: string): void => {
  const beside = `${path}.new`;
  writeFileSync(beside, text, { mode: 0o600, flush: true });
  renameSync(beside, path);
  const directory = openSync(join(path, ".."), "r");
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
};
