import { closeSync, constants, fstatSync, lstatSync, opendirSync, openSync, unlinkSync } from "node:fs";
import { setImmediate as breathe } from "node:timers/promises";
import { z } from "zod";
import type { DeclaredPath } from "../config.ts";
import { CANCELLED, type Execution, type Executor, failed, type Outcome, refusalOf, succeeded } from "./executor.ts";
import { globToRegExp } from "./glob.ts";

const Args = z.strictObject({ path: z.string().min(1).max(128), target_bytes: z.int().min(1) });

/** Beyond these, what has been seen so far is worked on; the command can be asked for again. */
const ENTRIES_MAX = 50_000;
const DEPTH_MAX = 16;
const ENTRIES_PER_SLICE = 500;

interface Candidate {
  /** Names from the declared path down to the file. */
  readonly segments: readonly string[];
  readonly inode: number;
  readonly mtimeMs: number;
  readonly bytes: number;
}

/**
 * Deletes old files inside a declared path. Node has no openat(2), but /proc/self/fd/N/name resolves from the very directory that N
 * holds open: each directory on the way is opened by its parent's descriptor with O_NOFOLLOW, so that neither `..` nor a symbolic link,
 * nor one that is put in place while we work, leads out of the path.
 */
export const filesFree = (options: { paths: readonly DeclaredPath[]; now: () => number }): Executor => ({
  name: "files.free",
  risk: "destructive",
  prepare(args) {
    const parsed = Args.safeParse(args);
    if (!parsed.success) return refusalOf(parsed.error);
    const declared = options.paths.find(({ name }) => name === parsed.data.path);
    if (declared === undefined) return { refused: `no path named ${parsed.data.path} is declared here` };
    if (declared.free.length === 0) return { refused: `nothing in ${declared.name} may be deleted` };
    return {
      target: `path:${declared.name}`,
      run: (execution) => free({ declared, targetBytes: parsed.data.target_bytes, now: options.now, execution }),
    };
  },
});

const free = async (task: {
  declared: DeclaredPath;
  targetBytes: number;
  now: () => number;
  execution: Execution;
}): Promise<Outcome> => {
  const { declared, targetBytes, execution } = task;
  let root: number;
  try {
    root = openDirectory(declared.path);
  } catch (error) {
    return failed(`cannot open ${declared.path}: ${String(error)}`);
  }
  try {
    const { candidates, isComplete } = await findCandidates(root, declared, execution.signal);
    const spared = spare(candidates, declared, task.now());
    let files = 0;
    let bytes = 0;
    for (const candidate of spared) {
      if (bytes >= targetBytes || execution.signal.aborted) break;
      if (!remove(root, candidate)) continue;
      files += 1;
      bytes += candidate.bytes;
      if (files % ENTRIES_PER_SLICE === 0) await breathe();
    }
    const report = JSON.stringify({
      files,
      bytes,
      target_bytes: targetBytes,
      candidates: candidates.length,
      is_complete: isComplete,
    });
    const message = `deleted ${files} files, ${bytes} bytes, in ${declared.path}`;
    if (execution.signal.aborted) return failed(`${message}; ${endOf(execution)}`, report);
    return bytes > 0 ? succeeded(message, report) : failed(`${message}: nothing more may be deleted`, report);
  } finally {
    closeSync(root);
  }
};

const endOf = ({ signal }: Execution): string =>
  signal.reason === CANCELLED ? "it was cancelled" : "its time was over";

/** Oldest first, without the newest and the young ones. */
const spare = (candidates: readonly Candidate[], declared: DeclaredPath, nowUnixMs: number): Candidate[] => {
  const oldestFirst = candidates.toSorted((a, b) => a.mtimeMs - b.mtimeMs);
  const youngMs = nowUnixMs - declared.keep_younger_than_s * 1000;
  return oldestFirst
    .slice(0, Math.max(0, oldestFirst.length - declared.keep_newest_files))
    .filter((candidate) => candidate.mtimeMs <= youngMs);
};

const findCandidates = async (root: number, declared: DeclaredPath, signal: AbortSignal) => {
  const globs = declared.free.map(globToRegExp);
  const { dev } = fstatSync(root);
  const candidates: Candidate[] = [];
  const pending: (readonly string[])[] = [[]];
  let entries = 0;
  for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
    if (signal.aborted) return { candidates, isComplete: false };
    const fd = openBelow(root, directory);
    if (fd === null) continue;
    try {
      for (const name of namesIn(fd)) {
        if (++entries > ENTRIES_MAX) return { candidates, isComplete: false };
        if (entries % ENTRIES_PER_SLICE === 0) await breathe();
        const stat = lstatSync(below(fd, name), { throwIfNoEntry: false });
        // Another device is a mount: its bytes are not this path's.
        if (stat === undefined || stat.dev !== dev) continue;
        const segments = [...directory, name];
        if (stat.isDirectory() && segments.length < DEPTH_MAX) pending.push(segments);
        // Deleting one of several names frees nothing.
        if (!stat.isFile() || stat.nlink !== 1) continue;
        const relative = segments.join("/");
        if (!globs.some((glob) => glob.test(relative))) continue;
        const bytes = stat.blocks > 0 ? stat.blocks * 512 : stat.size;
        candidates.push({ segments, inode: stat.ino, mtimeMs: stat.mtimeMs, bytes });
      }
    } finally {
      closeSync(fd);
    }
  }
  return { candidates, isComplete: true };
};

function* namesIn(fd: number): Generator<string> {
  const directory = opendirSync(below(fd, ""));
  try {
    for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) yield entry.name;
  } finally {
    directory.closeSync();
  }
}

/** False when it has gone, or is not any more what was looked at. */
const remove = (root: number, candidate: Candidate): boolean => {
  const name = candidate.segments.at(-1) ?? "";
  const fd = openBelow(root, candidate.segments.slice(0, -1));
  if (fd === null) return false;
  try {
    const path = below(fd, name);
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (!stat?.isFile() || stat.ino !== candidate.inode || stat.mtimeMs !== candidate.mtimeMs) return false;
    unlinkSync(path);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error) return false;
    throw error;
  } finally {
    closeSync(fd);
  }
};

/** Walks down by descriptors; null when a step is gone or is no directory (a link least of all). */
const openBelow = (root: number, segments: readonly string[]): number | null => {
  let fd = openDirectory(below(root, "."));
  for (const segment of segments) {
    const parent = fd;
    try {
      fd = openDirectory(below(parent, segment));
    } catch (error) {
      if (error instanceof Error && "code" in error) return null;
      throw error;
    } finally {
      closeSync(parent);
    }
  }
  return fd;
};

const openDirectory = (path: string): number =>
  openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);

const below = (fd: number, name: string): string => `/proc/self/fd/${fd}/${name}`;
