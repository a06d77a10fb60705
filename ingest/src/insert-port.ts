import type { TelemetrySchema } from "@homeostat/schemas";
import type { ProducerAccount } from "./telemetry/producer-sequences.ts";

/** The tables that ingest projects JSON records into, and its own ledger. */
export type RecordTable =
  | "findings"
  | "incidents"
  | "remediation_runs"
  | "agent_results"
  | "heartbeats"
  | "gateways"
  | "notifications"
  | "ingest_ledger";

/** zstd frames of Native blocks, byte for byte as they came: concatenated they are one insert body with `Content-Encoding: zstd`. */
export interface NativeInsert {
  readonly table: TelemetrySchema;
  readonly frames: readonly Uint8Array[];
  /** `insert_deduplication_token`: the same token with the same content twice inserts once. */
  readonly dedupToken: string;
  /** Of all frames together, as their headers say. */
  readonly rowCount: number;
}

/** Rows by column name; DateTime64(3) as whole milliseconds, UInt64 as number. */
export interface JsonInsert {
  readonly table: RecordTable;
  readonly rows: readonly Readonly<Record<string, string | number | readonly number[]>>[];
  readonly dedupToken: string;
}

/**
 * What ingest needs of the store. Each insert is durable and readable when it resolves, takes all or nothing, and rejects with an
 * InsertError whose `retryable` says whether the very same insert may succeed later; only an insert of which nothing is in may be
 * refused for ever. Reading rejects with an error that has `retryable` too. All settle by themselves: time limits are the store's.
 */
export interface InsertPort {
  insertNative(insert: NativeInsert): Promise<void>;
  insertJson(insert: JsonInsert): Promise<void>;
  /** The newest account of each producer in `ingest_ledger` for this partition. */
  lastSequences(topic: string, partition: number): Promise<ReadonlyMap<string, ProducerAccount>>;
}
