import type { Transform } from "node:stream";
import {
  constants,
  createGunzip,
  createInflate,
  createZstdDecompress,
  gunzipSync,
  inflateSync,
  zstdDecompressSync,
} from "node:zlib";
import { uncompress, uncompressSync } from "snappy";
import type { RoomAccount } from "./byte-room.ts";
import { RequestError } from "./receiver-route.ts";

/** Into memory of our own: the garbage collector is told of the library's as a whole, and works twice as long (measured). */
const COPIED = { copyOutputData: true } as const;

/** A body up to here is unpacked at once, when it gives no more than SYNC_OUTPUT_MAX: the way through the thread pool costs more. */
const SYNC_INPUT_MAX = 16_384;
const SYNC_OUTPUT_MAX = 1_048_576;
const CHUNK_BYTES = 65_536;
/** 8 MiB, which RFC 8878 (section 3.1.1.1.2) asks every decoder to take; a frame that wants a larger window is refused. */
const ZSTD_WINDOW_LOG_MAX = 23;
/** A copy of 64 bytes takes three: no block of Snappy gives more than about 22 times its own size. */
const SNAPPY_RATIO_MAX = 64;

export interface DecompressCaps {
  readonly bytesMax: number;
  /** Holds the body as it came; what is unpacked is counted into it as it grows. */
  readonly account: RoomAccount;
}

const ZSTD = { chunkSize: CHUNK_BYTES, params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX } };
const ZLIB = { chunkSize: CHUNK_BYTES };

interface Coding {
  sync(body: Buffer, maxOutputLength: number): Buffer;
  stream(): Transform;
}

const gzip: Coding = {
  sync: (body, maxOutputLength) => gunzipSync(body, { ...ZLIB, maxOutputLength }),
  stream: () => createGunzip(ZLIB),
};
const CODINGS: Readonly<Record<string, Coding>> = {
  gzip,
  "x-gzip": gzip,
  deflate: {
    sync: (body, maxOutputLength) => inflateSync(body, { ...ZLIB, maxOutputLength }),
    stream: () => createInflate(ZLIB),
  },
  zstd: {
    sync: (body, maxOutputLength) => zstdDecompressSync(body, { ...ZSTD, maxOutputLength }),
    stream: () => createZstdDecompress(ZSTD),
  },
};

/**
 * The body without its content coding (RFC 9110, section 8.4.1; `snappy` is the block format, as Prometheus has it). While the parts are put
 * together it holds up to twice what it gives, and counts that.
 * @throws RequestError 400 when it is broken, 413 beyond `bytesMax`, 415 for another coding, 429 when there is no room.
 */
export const decompress = async (body: Buffer, encoding: string, caps: DecompressCaps): Promise<Buffer> => {
  const name = encoding.trim().toLowerCase();
  if (name === "" || name === "identity") return body.length > caps.bytesMax ? tooLarge(caps) : body;
  if (name === "snappy") return unsnap(body, caps);
  const coding = Object.hasOwn(CODINGS, name) ? CODINGS[name] : undefined;
  if (coding === undefined) {
    throw new RequestError(
      415,
      `content-encoding ${name.slice(0, 40)} is not known: want gzip, zstd, deflate, snappy or none`,
    );
  }
  return (body.length <= SYNC_INPUT_MAX ? unpackAtOnce(body, coding, caps) : null) ?? unpack(body, coding, caps);
};

/** null: it gives too much to be unpacked at once. */
const unpackAtOnce = (body: Buffer, coding: Coding, { bytesMax, account }: DecompressCaps): Buffer | null => {
  let unpacked: Buffer;
  try {
    unpacked = coding.sync(body, Math.min(SYNC_OUTPUT_MAX, bytesMax));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE") return null;
    throw broken(error);
  }
  return account.take(unpacked.length) ? unpacked : noRoom();
};

const unpack = (body: Buffer, coding: Coding, caps: DecompressCaps): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const stream = coding.stream();
    const chunks: Buffer[] = [];
    let bytes = 0;
    const fail = (error: unknown): void => {
      stream.destroy();
      reject(error);
    };
    stream.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > caps.bytesMax) fail(tooLargeError(caps));
      else if (!caps.account.take(2 * chunk.length)) fail(noRoomError());
      else chunks.push(chunk);
    });
    stream.on("error", (error) => fail(broken(error)));
    stream.on("end", () => {
      resolve(Buffer.concat(chunks, bytes));
      caps.account.give(bytes);
    });
    stream.end(body);
  });

const unsnap = async (body: Buffer, caps: DecompressCaps): Promise<Buffer> => {
  const claimed = snappyLength(body);
  if (claimed > caps.bytesMax) return tooLarge(caps);
  if (claimed > body.length * SNAPPY_RATIO_MAX)
    throw new RequestError(
      400,
      `the snappy block of ${body.length} bytes cannot hold the ${claimed} bytes that it claims`,
    );
  if (!caps.account.take(claimed)) return noRoom();
  try {
    const unpacked = claimed <= SYNC_OUTPUT_MAX ? uncompressSync(body, COPIED) : await uncompress(body, COPIED);
    return typeof unpacked === "string" ? Buffer.from(unpacked) : unpacked;
  } catch (error) {
    throw broken(error);
  }
};

/** The length in front of a block, a varint of at most 32 bits (https://github.com/google/snappy/blob/main/format_description.txt). */
const snappyLength = (body: Buffer): number => {
  let length = 0;
  for (let at = 0; at < 5; at++) {
    const byte = body[at];
    if (byte === undefined) break;
    length += (byte & 0x7f) * 2 ** (7 * at);
    if (byte < 0x80) return length;
  }
  throw new RequestError(400, "the snappy block does not begin with its length");
};

const broken = (error: unknown): RequestError => {
  const reason = error instanceof Error ? error.message : String(error);
  return new RequestError(400, `the body cannot be decompressed: ${reason}`, { cause: error });
};

const tooLargeError = ({ bytesMax }: DecompressCaps): RequestError =>
  new RequestError(413, `the body unpacks to more than ${bytesMax} bytes`);

const tooLarge = (caps: DecompressCaps): never => {
  throw tooLargeError(caps);
};

const noRoomError = (): RequestError => new RequestError(429, "too much at once: come again");

const noRoom = (): never => {
  throw noRoomError();
};
