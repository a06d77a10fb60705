import { ClickHouseError } from "@clickhouse/client";

/** Why the store did not answer or refused. `retryable`: the same call may succeed later. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly code: "unreachable" | "timed_out" | "too_much" | "overloaded" | "refused" | "bad_migration";
  readonly retryable: boolean;
  /** ClickHouse's number, where it was the server that spoke. */
  readonly clickhouseCode: number | null;
  constructor(
    code: StoreError["code"],
    message: string,
    options: { retryable: boolean; clickhouseCode?: number; cause?: unknown },
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable;
    this.clickhouseCode = options.clickhouseCode ?? null;
  }
}

/**
 * Codes that speak of the content sent: the same bytes will be refused for ever (ClickHouse, src/Common/ErrorCodes.cpp).
 * Everything that is not here is taken for a passing state or a fault that an operator mends, so that nothing is given up too early.
 */
const CONTENT_CODES: ReadonlySet<number> = new Set([
  6, // CANNOT_PARSE_TEXT
  7, // INCORRECT_NUMBER_OF_COLUMNS
  9, // SIZES_OF_COLUMNS_DOESNT_MATCH
  10, // NOT_FOUND_COLUMN_IN_BLOCK
  16, // NO_SUCH_COLUMN_IN_TABLE
  19, // SIZE_OF_FIXED_STRING_DOESNT_MATCH
  26, // CANNOT_PARSE_QUOTED_STRING
  27, // CANNOT_PARSE_INPUT_ASSERTION_FAILED
  32, // ATTEMPT_TO_READ_AFTER_EOF
  33, // CANNOT_READ_ALL_DATA
  38, // CANNOT_PARSE_DATE
  41, // CANNOT_PARSE_DATETIME
  44, // ILLEGAL_COLUMN
  50, // UNKNOWN_TYPE
  53, // TYPE_MISMATCH
  69, // ARGUMENT_OUT_OF_BOUND
  70, // CANNOT_CONVERT_TYPE
  72, // CANNOT_PARSE_NUMBER
  117, // INCORRECT_DATA
  128, // TOO_LARGE_ARRAY_SIZE
  130, // CANNOT_READ_ARRAY_FROM_TEXT
  131, // TOO_LARGE_STRING_SIZE
  190, // SIZES_OF_ARRAYS_DONT_MATCH
  321, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
  349, // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
  469, // VIOLATED_CONSTRAINT
  561, // ZSTD_DECODER_FAILED
]);

const TIMED_OUT: ReadonlySet<number> = new Set([159, 160]);
/** TOO_MANY_ROWS, TOO_MANY_BYTES, TOO_MANY_ROWS_OR_BYTES: the answer is larger than the query may give. */
const TOO_MUCH: ReadonlySet<number> = new Set([158, 307, 396]);
/** TOO_MANY_SIMULTANEOUS_QUERIES, MEMORY_LIMIT_EXCEEDED, NOT_ENOUGH_SPACE, TOO_MANY_PARTS. */
const OVERLOADED: ReadonlySet<number> = new Set([202, 241, 243, 252]);

const TOO_MANY_PARTS = 252;
/** The same number stands for a table that merges too slowly, which passes, and for a block of too many days, which does not. */
const isOfContent = (code: number, said: string): boolean =>
  CONTENT_CODES.has(code) || (code === TOO_MANY_PARTS && said.includes("Too many partitions for single INSERT block"));

const classify = (code: number): StoreError["code"] => {
  if (TIMED_OUT.has(code)) return "timed_out";
  if (TOO_MUCH.has(code)) return "too_much";
  return OVERLOADED.has(code) ? "overloaded" : "refused";
};

const SECRETS = /(authorization|password)\S*\s*[:=]\s*\S+/gi;
const MESSAGE_LENGTH_MAX = 1000;

/** A failed call as a StoreError; what the server says is cut and stripped of credentials. */
export const storeError = (cause: unknown, doing: string): StoreError => {
  if (cause instanceof StoreError) return cause;
  const said = (cause instanceof Error ? cause.message : String(cause))
    .replace(SECRETS, "$1 …")
    .slice(0, MESSAGE_LENGTH_MAX);
  if (!(cause instanceof ClickHouseError)) {
    const code = /timeout/i.test(said) ? "timed_out" : "unreachable";
    return new StoreError(code, `${doing}: the store cannot be reached: ${said}`, { retryable: true, cause });
  }
  const clickhouseCode = Number(cause.code);
  return new StoreError(
    classify(clickhouseCode),
    `${doing}: ClickHouse says ${clickhouseCode} (${cause.type ?? "?"}): ${said}`,
    {
      retryable: !isOfContent(clickhouseCode, said),
      clickhouseCode,
      cause,
    },
  );
};
