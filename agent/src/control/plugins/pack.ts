import { createHash, type KeyObject } from "node:crypto";
import { lstat, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { PluginManifest, type PluginRelease, signRelease } from "@homeostat/schemas";
import { z } from "zod";
import { ARTEFACT_BYTES_MAX } from "../../host/plugins/install.ts";
import {
  flawOf,
  MANIFEST_BYTES_MAX,
  MANIFEST_FILE,
  UNPACKED_BYTES_MAX,
  UNPACKED_FILES_MAX,
} from "../../host/plugins/unpack.ts";

export interface Packed {
  /** A .tar.gz; the same directory gives the same bytes. */
  readonly artefact: Buffer;
  readonly release: PluginRelease;
}

/** What is in a directory cannot be packed, and where. */
export class PackError extends Error {
  override readonly name = "PackError";
}

/** Editors, version control and package managers leave these; nobody wants them on every host. What a program needs of `node_modules` goes along. */
const LEFT_OUT = new Set([".git", ".DS_Store", "__pycache__", ".bin", ".package-lock.json"]);
const ANY_EXECUTE = 0o111;
/** RFC 1952, 2.3.1: the byte that names the system; without it all systems make the same bytes. */
const GZIP_OS_AT = 9;
const GZIP_OS_UNKNOWN = 255;
/** A fixed time of change: 2000-01-01. */
const MTIME = new Date(946_684_800_000);

/** Makes the artefact of a directory with a plugin.json, and its signed release. @throws PackError */
export const packPlugin = async (directory: string, privateKey: KeyObject): Promise<Packed> => {
  const manifest = await readManifest(directory);
  // As it would be refused when it is published.
  const flaw = flawOf(directory, manifest);
  if (flaw !== null) throw new PackError(`${directory}: ${flaw}`);
  const paths = await filesIn(directory, "");
  if (paths.length > UNPACKED_FILES_MAX) throw new PackError(`more than ${UNPACKED_FILES_MAX} files in ${directory}`);
  const artefact = await tarOf(directory, paths);
  if (artefact.length > ARTEFACT_BYTES_MAX)
    throw new PackError(`the artefact has ${artefact.length} bytes, at most ${ARTEFACT_BYTES_MAX} are taken`);
  const sha256 = createHash("sha256").update(artefact).digest("hex");
  return { artefact, release: signRelease({ manifest, sha256, sizeBytes: artefact.length }, privateKey) };
};

const readManifest = async (directory: string): Promise<PluginManifest> => {
  const path = join(directory, MANIFEST_FILE);
  let value: unknown;
  try {
    const text = await readFile(path, "utf8");
    if (Buffer.byteLength(text) > MANIFEST_BYTES_MAX)
      throw new PackError(`${path} has more than ${MANIFEST_BYTES_MAX} bytes`);
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof PackError) throw error;
    throw new PackError(`cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
  const parsed = PluginManifest.safeParse(value);
  if (!parsed.success) throw new PackError(`${path}: ${z.prettifyError(parsed.error)}`);
  if (parsed.data.run === "builtin") throw new PackError(`${path}: only what ships with the agent is builtin`);
  return parsed.data;
};

/** In the order of their code units, so that it does not depend on the disk. */
const filesIn = async (directory: string, below: string): Promise<string[]> => {
  const found: string[] = [];
  for (const name of (await readdir(join(directory, below))).sort()) {
    if (LEFT_OUT.has(name)) continue;
    const path = below === "" ? name : `${below}/${name}`;
    const stat = await lstat(join(directory, path));
    if (stat.isDirectory()) found.push(...(await filesIn(directory, path)));
    else if (stat.isFile()) found.push(path);
    else throw new PackError(`${path} is neither file nor directory: links and devices are not taken`);
  }
  return found;
};

const tarOf = async (directory: string, paths: readonly string[]): Promise<Buffer> => {
  const { Header } = await import("tar");
  const parts: Buffer[] = [];
  let bytes = 0;
  for (const path of paths) {
    const content = await readFile(join(directory, path));
    bytes += content.length;
    if (bytes > UNPACKED_BYTES_MAX) throw new PackError(`more than ${UNPACKED_BYTES_MAX} bytes in ${directory}`);
    const { mode } = await lstat(join(directory, path));
    const header = new Header({
      path,
      mode: (mode & ANY_EXECUTE) === 0 ? 0o644 : 0o755,
      size: content.length,
      mtime: MTIME,
      type: "File",
    });
    if (header.encode() || header.block === undefined)
      throw new PackError(`${path}: the path is too long, or not plain ASCII`);
    parts.push(header.block, content, Buffer.alloc(-content.length & 511));
  }
  // Two empty blocks end an archive (POSIX.1-1988, ustar).
  parts.push(Buffer.alloc(1024));
  const packed = gzipSync(Buffer.concat(parts), { level: 9 });
  packed[GZIP_OS_AT] = GZIP_OS_UNKNOWN;
  return packed;
};
