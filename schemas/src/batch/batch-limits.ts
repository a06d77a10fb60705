/** No block, compressed however well, may grow beyond this in a decoder's memory. */
export const BLOCK_BYTES_MAX = 32 * 1_048_576;

/** A builder says `isFull` here: small enough that text which compresses by a third still fits MESSAGE_BYTES_MAX. */
export const BATCH_FLUSH_BYTES = 768 * 1024;

/** UTF-8 bytes of one string. Callers cut bodies long before; this bounds what one row can cost. */
export const STRING_BYTES_MAX = 1_048_576;

/** Entries of one map, eight times OpenTelemetry's default limit of 128 attributes. */
export const MAP_ENTRIES_MAX = 1024;

/** Numbers of one array: OpenTelemetry's exponential histograms have at most 160 buckets, explicit ones some dozens. */
export const ARRAY_ENTRIES_MAX = 4096;
