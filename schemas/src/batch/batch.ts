import { constants, zstdDecompressSync } from "node:zlib";
import { type ColumnType, TELEMETRY, type TelemetrySchema } from "../telemetry.ts";
import { BatchError } from "./batch-error.ts";
import { type BatchHeader, splitValue } from "./batch-header.ts";
import {
  type ArrayColumn,
  type DecodedColumn,
  type MapColumn,
  openNativeBlock,
  type StringColumn,
} from "./native-block-reader.ts";
import type { ColumnName, TypeOfColumn } from "./telemetry-row.ts";

/** What a column of each type is read as. */
interface Decoded {
  UInt8: Uint8Array;
  UInt64: BigUint64Array;
  Float64: Float64Array;
  "DateTime64(3)": BigInt64Array;
  "DateTime64(9)": BigInt64Array;
  String: StringColumn;
  "Map(String, String)": MapColumn;
  "Array(Float64)": ArrayColumn;
}

export type DecodedOf<T extends ColumnType> = Decoded[T];

export interface BatchOf<S extends TelemetrySchema> {
  readonly schema: S;
  readonly header: BatchHeader;
  readonly rowCount: number;
  column<N extends ColumnName<S>>(name: N): DecodedOf<TypeOfColumn<S, N>>;
  /**
   * Gives the rows' memory back at once, and columns with it: for who has seen enough. The garbage collector knows little of memory outside
   * of its heap and would let tens of megabytes gather (measured: twice the time per batch, and a process that is 60 MB larger).
   */
  release(): void;
}

/** Ask `batch.schema` first: it tells TypeScript which columns there are. */
export type Batch = { [S in TelemetrySchema]: BatchOf<S> }[TelemetrySchema];

/** log2 of 32 MiB, BLOCK_BYTES_MAX: the decompressor refuses frames that want a larger window. */
const WINDOW_LOG_MAX = 25;

/**
 * In one piece a block need not be put together from chunks (measured: 40 % less time), and with a byte to spare Node does not make another
 * chunk for what might still come; the cap bounds what a lying size can allocate.
 */
const OUTPUT_CHUNK_BYTES_MAX = 2 * 1_048_576;
const chunkBytes = (uncompressedBytes: number): number =>
  Math.min(Math.max(uncompressedBytes + 1, 64), OUTPUT_CHUNK_BYTES_MAX);

const decompress = (frame: Uint8Array, uncompressedBytes: number): Buffer => {
  let block: Buffer;
  try {
    block = zstdDecompressSync(frame, {
      maxOutputLength: uncompressedBytes,
      chunkSize: chunkBytes(uncompressedBytes),
      params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MAX },
    });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BatchError("bad_frame", `the zstd frame does not decompress to ${uncompressedBytes} bytes: ${reason}`, {
      cause,
    });
  }
  if (block.length === uncompressedBytes) return block;
  throw new BatchError(
    "bad_frame",
    `the zstd frame holds ${block.length} bytes, the header claims ${uncompressedBytes}`,
  );
};

/**
 * The rows of a value, or a BatchError that says what is wrong and where, whatever the bytes are. All of them are checked; a column is
 * read when it is first asked for.
 */
export const decodeBatch = (value: Uint8Array): Batch => {
  const { header, frame } = splitValue(value);
  const block = decompress(frame, header.uncompressed_bytes);
  const read = openNativeBlock(block, TELEMETRY[header.schema], header.row_count);
  const columns = new Map<string, DecodedColumn>();
  let isReleased = false;
  const column = (name: string): DecodedColumn => {
    if (isReleased) throw new Error(`column ${name} is asked for after the batch was released`);
    const found = columns.get(name) ?? read(name);
    if (found === undefined) throw new RangeError(`${header.schema} has no column ${name}`);
    columns.set(name, found);
    return found;
  };
  const release = (): void => {
    if (isReleased) return;
    isReleased = true;
    columns.clear();
    const { buffer } = block;
    // A small block may share its buffer with others.
    if (buffer instanceof ArrayBuffer && buffer.byteLength <= block.length + 1) buffer.transfer(0);
  };
  // openNativeBlock makes each column by the very table of types that BatchOf is computed from.
  return { schema: header.schema, header, rowCount: header.row_count, column, release } as Batch;
};
