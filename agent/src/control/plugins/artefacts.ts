import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { mkdir, mkdtemp, open, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Log, PluginRelease } from "@homeostat/schemas";
import { ARTEFACT_BYTES_MAX } from "../../host/plugins/install.ts";
import { flawOf, unpack } from "../../host/plugins/unpack.ts";

/** All releases together. Beyond it nothing is published until somebody takes old ones out of the directory. */
export const RELEASES_MAX = 1_000;
/** Of one read. */
export const PIECE_BYTES_MAX = 524_288;
const UNPACK_MS = 120_000;
const TEMPORARY = ".tmp-";
const SHA256 = /^[0-9a-f]{64}$/;

/** Why these are not the bytes that the release speaks of; null when they are. */
export const bytesFlaw = (artefact: Uint8Array, release: PluginRelease): string | null => {
  if (artefact.length > ARTEFACT_BYTES_MAX) return `the artefact has more than ${ARTEFACT_BYTES_MAX} bytes`;
  if (artefact.length !== release.size_bytes)
    return `the artefact has ${artefact.length} bytes, the release says ${release.size_bytes}`;
  const sha256 = createHash("sha256").update(artefact).digest("hex");
  return sha256 === release.sha256
    ? null
    : `the artefact has the SHA-256 ${sha256}, the release says ${release.sha256}`;
};

/** Artefacts by their digest, each with its release beside it: `<sha256>.tar.gz` and `<sha256>.json`, the second written last. */
export class Artefacts {
  readonly #dir: string;
  readonly #releases = new Map<string, PluginRelease>();

  constructor({ dir, log }: { dir: string; log: Log }) {
    this.#dir = dir;
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(dir)) {
      if (name.startsWith(TEMPORARY)) rmSync(join(dir, name), { recursive: true, force: true });
      else if (name.endsWith(".json")) this.#load(name.slice(0, -".json".length), log);
    }
  }

  releases(): readonly PluginRelease[] {
    return [...this.#releases.values()];
  }

  /** The release of these bytes. */
  get(sha256: string): PluginRelease | undefined {
    return this.#releases.get(sha256);
  }

  get isFull(): boolean {
    return this.#releases.size >= RELEASES_MAX;
  }

  /** Checks the bytes as an agent will, and stores them durably; or why not. */
  async put(artefact: Uint8Array, release: PluginRelease): Promise<string | null> {
    const spoilt = bytesFlaw(artefact, release);
    if (spoilt !== null) return spoilt;
    const { sha256 } = release;
    const temporary = await mkdtemp(join(this.#dir, TEMPORARY));
    try {
      const packed = join(temporary, "artefact");
      await writeDurably(packed, artefact);
      const root = join(temporary, "root");
      await mkdir(root);
      const unpacked = await unpack(packed, { into: root, timeoutMs: UNPACK_MS });
      if ("refused" in unpacked) return `the artefact: ${unpacked.refused}`;
      const flaw = flawOf(root, release.manifest);
      if (flaw !== null) return flaw;
      const described = join(temporary, "release");
      await writeDurably(described, Buffer.from(JSON.stringify(release)));
      await rename(packed, this.#path(sha256));
      await rename(described, join(this.#dir, `${sha256}.json`));
      await syncDirectory(this.#dir);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
    this.#releases.set(sha256, release);
    return null;
  }

  /** @throws RangeError when there is no such artefact or no such piece. */
  async read(sha256: string, offset: number, length: number): Promise<Buffer> {
    const release = SHA256.test(sha256) ? this.#releases.get(sha256) : undefined;
    if (release === undefined) throw new RangeError(`no artefact ${sha256.slice(0, 64)}`);
    const isPiece = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
    if (!isPiece || length > PIECE_BYTES_MAX || offset > release.size_bytes)
      throw new RangeError(`no piece of ${length} bytes at ${offset} of ${release.size_bytes}`);
    const file = await open(this.#path(sha256), "r");
    try {
      const piece = Buffer.alloc(Math.min(length, release.size_bytes - offset));
      let read = 0;
      while (read < piece.length) {
        const { bytesRead } = await file.read(piece, read, piece.length - read, offset + read);
        if (bytesRead === 0) throw new RangeError(`the artefact ${sha256} ends at ${offset + read}`);
        read += bytesRead;
      }
      return piece;
    } finally {
      await file.close();
    }
  }

  #path(sha256: string): string {
    return join(this.#dir, `${sha256}.tar.gz`);
  }

  #load(sha256: string, log: Log): void {
    try {
      const release = PluginRelease.parse(JSON.parse(readFileSync(join(this.#dir, `${sha256}.json`), "utf8")));
      const { size } = statSync(this.#path(sha256));
      if (release.sha256 !== sha256 || size !== release.size_bytes) throw new Error("it is not what its release says");
      this.#releases.set(sha256, release);
    } catch (error) {
      log.error({ sha256, error: String(error).slice(0, 500) }, "an artefact cannot be used");
    }
  }
}

const writeDurably = async (path: string, bytes: Uint8Array): Promise<void> => {
  const file = await open(path, "wx", 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
};

const syncDirectory = async (path: string): Promise<void> => {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
};
