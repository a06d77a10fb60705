import { CHUNK_BYTES_MAX } from "../channel/frame.ts";

/** Reads a range from control; fewer bytes than asked for at the artefact's end. */
export type ReadRange = (sha256: string, offset: number, length: number) => Promise<Buffer>;

/** Blocks that are being asked for at a time; a fleet wants the same few. */
const LOADING_MAX = 256;

/**
 * Ranges of artefacts, so that ten thousand agents do not all ask control. By blocks of CHUNK_BYTES_MAX; the one used longest ago gives
 * way. What is in it is believed by nobody: agents check digests.
 */
export class ArtefactCache {
  readonly #bytesMax: number;
  readonly #read: ReadRange;
  /** A Map iterates in the order of insertion: the first was used longest ago. */
  readonly #blocks = new Map<string, Buffer>();
  readonly #loading = new Map<string, Promise<Buffer>>();
  bytes = 0;

  constructor(options: { bytesMax: number; read: ReadRange }) {
    this.#bytesMax = options.bytesMax;
    this.#read = options.read;
  }

  /** At most CHUNK_BYTES_MAX. */
  async read(sha256: string, offset: number, length: number): Promise<Buffer> {
    const first = Math.floor(offset / CHUNK_BYTES_MAX);
    const last = Math.floor((offset + length - 1) / CHUNK_BYTES_MAX);
    const blocks = [await this.#block(sha256, first)];
    if (last > first && blocks[0]?.length === CHUNK_BYTES_MAX) blocks.push(await this.#block(sha256, last));
    const start = offset - first * CHUNK_BYTES_MAX;
    return (blocks.length === 1 ? (blocks[0] ?? Buffer.alloc(0)) : Buffer.concat(blocks)).subarray(
      start,
      start + length,
    );
  }

  #block(sha256: string, index: number): Promise<Buffer> {
    const key = `${sha256}/${index}`;
    const known = this.#blocks.get(key);
    if (known !== undefined) {
      this.#blocks.delete(key);
      this.#blocks.set(key, known);
      return Promise.resolve(known);
    }
    const underWay = this.#loading.get(key);
    if (underWay !== undefined) return underWay;
    if (this.#loading.size >= LOADING_MAX) return Promise.reject(new Error("too many artefacts are being fetched"));
    const loading = this.#load(key, sha256, index).finally(() => this.#loading.delete(key));
    this.#loading.set(key, loading);
    return loading;
  }

  async #load(key: string, sha256: string, index: number): Promise<Buffer> {
    const block = await this.#read(sha256, index * CHUNK_BYTES_MAX, CHUNK_BYTES_MAX);
    this.#blocks.set(key, block);
    this.bytes += block.length;
    for (const [oldest, { length }] of this.#blocks) {
      if (this.bytes <= this.#bytesMax) break;
      this.#blocks.delete(oldest);
      this.bytes -= length;
    }
    return block;
  }
}
