import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";

const BYTES_MAX = 65_536;
const OTHERS = 0o077;

const codeOf = (thrown: unknown): unknown => (thrown instanceof Error && "code" in thrown ? thrown.code : undefined);

/**
 * What only its owner may read. null when it is not there.
 * @throws Error for a link, another owner, rights of others, or more than 64 KiB: a key that others could read or put there is no key.
 */
export const readSecret = (path: string): string | null => {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT") return null;
    throw new Error(`${path} cannot be read as a file of secrets (${String(codeOf(thrown))})`, { cause: thrown });
  }
  try {
    const { mode, uid, size } = fstatSync(fd);
    const own = process.getuid?.();
    if (own !== undefined && uid !== own) throw new Error(`${path} belongs to user ${uid}, want ${own}`);
    if ((mode & OTHERS) !== 0)
      throw new Error(`${path} can be read or written by others (mode ${(mode & 0o777).toString(8)}), want 600`);
    if (size > BYTES_MAX) throw new Error(`${path} has ${size} bytes, want at most ${BYTES_MAX}`);
    return readFileSync(fd, "utf8");
  } finally {
    closeSync(fd);
  }
};

const syncFolder = (path: string): void => {
  const fd = openSync(dirname(path), constants.O_RDONLY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
};

/** A name that nobody can have guessed, for what is not complete yet. */
const writeBeside = (path: string, text: string): string => {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const beside = `${path}.${randomBytes(8).toString("hex")}.new`;
  writeFileSync(beside, text, { mode: 0o600, flag: "wx", flush: true });
  return beside;
};

/** A crash leaves the old file or the new one. */
export const writeSecret = (path: string, text: string): void => {
  renameSync(writeBeside(path, text), path);
  syncFolder(path);
};

/** Reads it, or makes it. Of two that make it at the same time one wins, and both get what is there then. */
export const readOrMakeSecret = (path: string, make: () => string): string => {
  const there = readSecret(path);
  if (there !== null) return there;
  const beside = writeBeside(path, make());
  try {
    linkSync(beside, path);
    syncFolder(path);
  } catch (thrown) {
    if (codeOf(thrown) !== "EEXIST") throw thrown;
  } finally {
    unlinkSync(beside);
  }
  const made = readSecret(path);
  if (made === null) throw new Error(`${path} was removed while it was made`);
  return made;
};
