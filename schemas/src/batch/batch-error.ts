/** Why a batch was refused: by the builder (`empty`, `full`, `bad_value`, `too_long`, `too_large`) or by the decoder (the others, and `too_large`). */
export const BATCH_ERROR_CODES = [
  "empty",
  "full",
  "bad_value",
  "too_long",
  "too_large",
  "truncated",
  "bad_magic",
  "bad_header",
  "unsupported_version",
  "checksum_mismatch",
  "bad_frame",
  "bad_block",
  "unknown_column",
  "missing_column",
  "wrong_type",
  "row_count_mismatch",
  "trailing_bytes",
] as const;
export type BatchErrorCode = (typeof BATCH_ERROR_CODES)[number];

export class BatchError extends Error {
  override readonly name = "BatchError";
  readonly code: BatchErrorCode;
  constructor(code: BatchErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
