/**
 * A short-lived child: unpacks one artefact into a directory that is there and empty. The agent itself neither loads the tar library nor
 * takes the memory and the time that a hostile artefact may cost.
 *
 * Arguments: the artefact, the directory, the most files, the most bytes. Writes one line of JSON: {"files": n, "bytes": n} or {"refused": why}.
 * Ends when its stdin does: with the agent, when that is killed.
 */
import { closeSync, createReadStream, fchmodSync, fsyncSync, lstatSync, mkdirSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { Parser, type ReadEntry } from "tar";

const PATH_CHARS_MAX = 512;
const DEPTH_MAX = 16;
const SETUID_SETGID_STICKY = 0o7000;
const ANY_EXECUTE = 0o111;
/** Headers, padding and extended headers take up to this for each entry beside its content. */
const TAR_BYTES_PER_ENTRY = 8_192;
/** Archives are filled up to a whole record (POSIX: 10 KiB, by default), and no further. */
const PADDING_BYTES_MAX = 1_048_576;

class Refusal extends Error {
  override readonly name = "Refusal";
}

const refuse = (why: string): never => {
  throw new Refusal(why);
};

/** The segments below the root that this path means. */
const segmentsOf = (path: string): string[] => {
  const shown = JSON.stringify(path.slice(0, 100));
  if (path.length > PATH_CHARS_MAX) refuse(`a path of more than ${PATH_CHARS_MAX} characters: ${shown}`);
  if (path.startsWith("/")) refuse(`an absolute path: ${shown}`);
  if (/[\p{Cc}\\]/u.test(path)) refuse(`a path with control characters or backslashes: ${shown}`);
  const segments = path.split("/").filter((segment) => segment !== "" && segment !== ".");
  if (segments.includes("..")) refuse(`a path that leads out of the artefact: ${shown}`);
  if (segments.length > DEPTH_MAX) refuse(`deeper than ${DEPTH_MAX} directories: ${shown}`);
  return segments;
};

const makeDirectories = (root: string, segments: readonly string[]): string => {
  let at = root;
  for (const segment of segments) {
    at = join(at, segment);
    const found = lstatSync(at, { throwIfNoEntry: false });
    if (found === undefined) mkdirSync(at, { mode: 0o755 });
    else if (!found.isDirectory()) refuse(`both a file and a directory: ${JSON.stringify(segments.join("/"))}`);
  }
  return at;
};

const counts = { files: 0, bytes: 0 };
const written: string[] = [];

/** At the end, when most of it has been written back by itself, and only of what is not refused. */
const syncAll = (): void => {
  for (const path of written) {
    const fd = openSync(path, "r");
    fsyncSync(fd);
    closeSync(fd);
  }
};

const take = (
  entry: ReadEntry,
  root: string,
  most: { files: number; bytes: number },
  fail: (error: unknown) => void,
) => {
  const segments = segmentsOf(entry.path);
  const shown = JSON.stringify(entry.path.slice(0, 100));
  counts.files += 1;
  counts.bytes += entry.size;
  if (counts.files > most.files) refuse(`more than ${most.files} files`);
  if (counts.bytes > most.bytes) refuse(`more than ${most.bytes} bytes when unpacked`);
  if (((entry.mode ?? 0) & SETUID_SETGID_STICKY) !== 0) refuse(`setuid, setgid or sticky: ${shown}`);
  if (entry.type === "Directory") {
    makeDirectories(root, segments);
    entry.resume();
    return;
  }
  if (entry.type !== "File" && entry.type !== "OldFile" && entry.type !== "ContiguousFile")
    refuse(`${entry.type} is neither file nor directory: ${shown}`);
  const name = segments.at(-1) ?? refuse(`a file without a name: ${shown}`);
  const directory = makeDirectories(root, segments.slice(0, -1));
  const path = join(directory, name);
  if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) refuse(`twice in the artefact: ${shown}`);
  // "wx": made anew, and never through a link.
  const fd = openSync(path, "wx", 0o600);
  const guarded = (act: () => void) => () => {
    try {
      act();
    } catch (error) {
      fail(error);
    }
  };
  entry.on("data", (chunk: Buffer) => guarded(() => writeAll(fd, chunk))());
  entry.on(
    "end",
    guarded(() => {
      fchmodSync(fd, ((entry.mode ?? 0) & ANY_EXECUTE) === 0 ? 0o644 : 0o755);
      closeSync(fd);
      written.push(path);
    }),
  );
};

const writeAll = (fd: number, chunk: Buffer): void => {
  for (let at = 0; at < chunk.length; ) at += writeSync(fd, chunk, at);
};

const unpack = async (artefact: string, root: string, most: { files: number; bytes: number }): Promise<void> => {
  let plainBytes = 0;
  const plainBytesMax = most.bytes + most.files * TAR_BYTES_PER_ENTRY;
  const ended = Promise.withResolvers<void>();
  const parser = new Parser({
    strict: true,
    onReadEntry: (entry) => {
      try {
        take(entry, root, most, ended.reject);
      } catch (error) {
        ended.reject(error);
      }
    },
  });
  let isAtEnd = false;
  let paddingBytes = 0;
  parser.on("error", ended.reject);
  parser.on("eof", () => {
    isAtEnd = true;
  });
  parser.on("end", () => ended.resolve());
  const feed = new Transform({
    transform(chunk: Buffer, _, done) {
      plainBytes += chunk.length;
      if (plainBytes > plainBytesMax) return done(new Refusal(`more than ${plainBytesMax} bytes when decompressed`));
      if (isAtEnd) paddingBytes += chunk.length;
      if (paddingBytes > PADDING_BYTES_MAX)
        return done(new Refusal(`more than ${PADDING_BYTES_MAX} bytes behind its end`));
      if (!isAtEnd) parser.write(chunk);
      done();
    },
    flush(done) {
      parser.end();
      done();
    },
  });
  const fed = pipeline(createReadStream(artefact), createGunzip(), feed.resume());
  await Promise.all([fed, ended.promise]);
  syncAll();
};

process.stdin.on("close", () => process.exit(1)).resume();
const [artefact = "", root = "", files = "", bytes = ""] = process.argv.slice(2);
try {
  await unpack(artefact, root, { files: Number(files), bytes: Number(bytes) });
  process.stdout.write(`${JSON.stringify(counts)}\n`);
} catch (error) {
  const why =
    error instanceof Refusal ? error.message : `not a .tar.gz: ${error instanceof Error ? error.message : error}`;
  process.stdout.write(`${JSON.stringify({ refused: why.slice(0, 500) })}\n`);
}
// What is half read is of no use to anybody.
process.exit();
