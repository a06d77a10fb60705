import { createHash } from "node:crypto";
import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import type { PluginRelease } from "@homeostat/schemas";
import type { Fetch } from "./plugin-host-types.ts";
import type { PluginStore } from "./store.ts";
import { flawOf, unpack } from "./unpack.ts";

const PIECE_BYTES = 262_144;
const PIECE_MS = 60_000;
/** Of an artefact, packed: an agent that is told more is told nonsense. */
export const ARTEFACT_BYTES_MAX = 64 * 1_048_576;

/** What became of an installation. */
export interface Installed {
  /** `unavailable` may go better another time; `corrupt` may, when the bytes come from somebody else; `refused` never will. */
  readonly outcome: "installed" | "unavailable" | "corrupt" | "refused";
  /** Why; of an installation its directory. */
  readonly detail: string;
}

/** Fetches, checks, unpacks, and puts it in its place. Whoever is killed in between leaves nothing but what the next start clears away. */
export const install = async (
  release: PluginRelease,
  options: { store: PluginStore; fetch: Fetch; signal: AbortSignal; unpackMs: number },
): Promise<Installed> => {
  const { store, unpackMs } = options;
  if (release.size_bytes > ARTEFACT_BYTES_MAX)
    return { outcome: "refused", detail: `an artefact of more than ${ARTEFACT_BYTES_MAX} bytes` };
  const temporary = store.makeTemporary();
  try {
    const artefact = join(temporary, "artefact");
    const flaw = await fetchTo(artefact, release, options);
    if (flaw !== null) return flaw;
    const root = join(temporary, "root");
    await mkdir(root, { mode: 0o755 });
    const unpacked = await unpack(artefact, { into: root, timeoutMs: unpackMs });
    if ("refused" in unpacked) return { outcome: "refused", detail: `its artefact: ${unpacked.refused}` };
    const wrong = flawOf(root, release.manifest);
    if (wrong !== null) return { outcome: "refused", detail: wrong };
    store.place(release, root, temporary);
    return { outcome: "installed", detail: store.directoryOf(release) };
  } catch (error) {
    // The disk, or the child: neither says anything about the release.
    return {
      outcome: "unavailable",
      detail: `cannot install: ${error instanceof Error ? error.message : String(error)}`,
    };
  } finally {
    store.discard(temporary);
  }
};

const fetchTo = async (
  path: string,
  { sha256, size_bytes: size }: PluginRelease,
  { fetch, signal }: { fetch: Fetch; signal: AbortSignal },
): Promise<Installed | null> => {
  const digest = createHash("sha256");
  const file = await open(path, "wx", 0o600);
  try {
    for (let offset = 0; offset < size; ) {
      const length = Math.min(PIECE_BYTES, size - offset);
      let piece: Uint8Array;
      try {
        piece = await withinTime(fetch(sha256, offset, length), signal);
      } catch (error) {
        return {
          outcome: "unavailable",
          detail: `cannot fetch its artefact: ${error instanceof Error ? error.message : String(error)}`,
        };
      }
      if (signal.aborted) return { outcome: "unavailable", detail: "it is wished no longer" };
      if (piece.length !== length)
        return { outcome: "corrupt", detail: `a piece of ${piece.length} bytes, ${length} were asked for` };
      digest.update(piece);
      await file.write(piece, 0, piece.length, offset);
      offset += length;
    }
  } finally {
    await file.close();
  }
  const found = digest.digest("hex");
  return found === sha256
    ? null
    : { outcome: "corrupt", detail: `its artefact has the SHA-256 ${found}, not ${sha256}` };
};

/** Rejects when it takes too long, or is wanted no longer. */
const withinTime = <T>(asked: Promise<T>, signal: AbortSignal): Promise<T> => {
  const ending = AbortSignal.any([signal, AbortSignal.timeout(PIECE_MS)]);
  const ended = Promise.withResolvers<never>();
  const onAbort = () =>
    ended.reject(new Error(signal.aborted ? "it is wished no longer" : `no piece within ${PIECE_MS} ms`));
  ending.addEventListener("abort", onAbort, { once: true });
  if (ending.aborted) onAbort();
  return Promise.race([asked, ended.promise]).finally(() => ending.removeEventListener("abort", onAbort));
};
