import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { LinkError } from "./link.ts";
import { pause } from "./pause.ts";

export type FetchPiece = (sha256: string, offset: number, length: number) => Promise<Uint8Array>;

export interface FetchSetting {
  readonly fetch: FetchPiece;
  /** It is wanted no longer. */
  readonly signal: AbortSignal;
  /** Before a piece is asked for again; doubled each time, half of it jitter. */
  readonly retryMs: number;
  readonly random: () => number;
}

/** `unavailable` may go better another time; `corrupt` may, when the bytes come from somebody else. */
export interface NotFetched {
  readonly outcome: "unavailable" | "corrupt";
  readonly detail: string;
}

const PIECE_BYTES = 262_144;
const PIECE_MS = 60_000;
/** Of one piece: a server that is busy or has just died is not the end of what has been fetched so far. */
const TRIES_MAX = 5;

/**
 * Fetches an artefact into a new file, piece by piece, and checks it by its digest. Resolves with null when it is there and on the disk.
 * @throws Error when the disk does not take it, or the file is there already
 */
export const fetchArtefact = async (
  path: string,
  { sha256, size_bytes: size }: { readonly sha256: string; readonly size_bytes: number },
  setting: FetchSetting,
): Promise<NotFetched | null> => {
  const digest = createHash("sha256");
  const file = await open(path, "wx", 0o600);
  try {
    for (let offset = 0; offset < size; ) {
      const length = Math.min(PIECE_BYTES, size - offset);
      const piece = await pieceOf({ sha256, offset, length }, setting);
      if ("outcome" in piece) return piece;
      digest.update(piece);
      for (let done = 0; done < length; )
        done += (await file.write(piece, done, length - done, offset + done)).bytesWritten;
      offset += length;
    }
    await file.sync();
  } finally {
    await file.close();
  }
  const found = digest.digest("hex");
  if (found === sha256) return null;
  return { outcome: "corrupt", detail: `its artefact has the SHA-256 ${found}, not ${sha256}` };
};

const pieceOf = async (
  { sha256, offset, length }: { readonly sha256: string; readonly offset: number; readonly length: number },
  { fetch, signal, retryMs, random }: FetchSetting,
): Promise<Uint8Array | NotFetched> => {
  for (let tries = 1; ; tries += 1) {
    if (signal.aborted) return { outcome: "unavailable", detail: "it is wanted no longer" };
    try {
      const piece = await withinTime(fetch(sha256, offset, length), signal);
      if (piece.length === length) return piece;
      return { outcome: "corrupt", detail: `a piece of ${piece.length} bytes, ${length} were asked for` };
    } catch (error) {
      const isFinal = tries >= TRIES_MAX || (error instanceof LinkError && error.code === "refused");
      const why = error instanceof Error ? error.message : String(error);
      if (isFinal || signal.aborted) return { outcome: "unavailable", detail: `cannot fetch its artefact: ${why}` };
      await pause(retryMs * 2 ** (tries - 1) * (0.5 + random() / 2), signal);
    }
  }
};

/** Rejects when it takes too long, or is wanted no longer. */
const withinTime = <T>(asked: Promise<T>, signal: AbortSignal): Promise<T> => {
  const ending = AbortSignal.any([signal, AbortSignal.timeout(PIECE_MS)]);
  const ended = Promise.withResolvers<never>();
  const onAbort = () =>
    ended.reject(new Error(signal.aborted ? "it is wanted no longer" : `no piece within ${PIECE_MS} ms`));
  ending.addEventListener("abort", onAbort, { once: true });
  if (ending.aborted) onAbort();
  return Promise.race([asked, ended.promise]).finally(() => ending.removeEventListener("abort", onAbort));
};
