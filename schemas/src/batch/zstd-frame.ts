import { BatchError } from "./batch-error.ts";

const ZSTD_MAGIC = 0xfd2fb528;
const BLOCK_TYPE_RLE = 1;
const BLOCK_TYPE_RESERVED = 3;

const bad = (message: string): BatchError => new BatchError("bad_frame", message);

/**
 * Walks the block headers of a zstd frame (RFC 8878, section 3.1.1) without decompressing it: `frame` must be exactly one frame
 * that says its content's size. Node's decompressor ignores what follows a frame, and in an insert body of several frames
 * a short one would swallow its neighbour, so both are refused here.
 */
export const zstdContentBytes = (frame: Uint8Array): number => {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (frame.length < 6 || view.getUint32(0, true) !== ZSTD_MAGIC) throw bad("no zstd frame follows the header");
  const descriptor = view.getUint8(4);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  if ((descriptor & 0x08) !== 0) throw bad("the zstd frame sets a reserved bit");
  if ((descriptor & 0x03) !== 0) throw bad("the zstd frame wants a dictionary");
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 ? (isSingleSegment ? 1 : 0) : 1 << sizeFlag;
  if (sizeBytes === 0) throw bad("the zstd frame does not say its content's size");
  const sizeAt = isSingleSegment ? 5 : 6;
  let at = sizeAt + sizeBytes;
  for (let isLast = false; !isLast; ) {
    if (at + 3 > frame.length) throw bad(`the zstd frame is cut short at byte ${at} of ${frame.length}`);
    const blockHeader = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
    isLast = (blockHeader & 1) !== 0;
    const blockType = (blockHeader >> 1) & 3;
    if (blockType === BLOCK_TYPE_RESERVED) throw bad(`the zstd frame has a block of a reserved type at byte ${at}`);
    at += 3 + (blockType === BLOCK_TYPE_RLE ? 1 : blockHeader >> 3);
  }
  const hasChecksum = (descriptor & 0x04) !== 0;
  const end = at + (hasChecksum ? 4 : 0);
  if (end !== frame.length) throw bad(`the zstd frame ends at byte ${end}, the value at ${frame.length}`);
  return readContentBytes(view, sizeAt, sizeBytes);
};

const readContentBytes = (view: DataView, at: number, bytes: number): number => {
  if (bytes === 1) return view.getUint8(at);
  if (bytes === 2) return view.getUint16(at, true) + 256;
  if (bytes === 4) return view.getUint32(at, true);
  return Number(view.getBigUint64(at, true));
};
