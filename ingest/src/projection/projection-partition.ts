import { type AssignedPartition, type BusMessage, InsertError, type PartitionHandler } from "@homeostat/schemas";
import { z } from "zod";
import type { IngestCounts } from "../ingest-counts.ts";
import type { InsertPort, JsonInsert } from "../insert-port.ts";
import type { Retry } from "../retry.ts";
import type { MalformedRecords } from "./malformed-records.ts";
import type { Projection } from "./projections.ts";

export interface ProjectionPorts {
  readonly insert: InsertPort;
  readonly retry: Retry;
  readonly counts: IngestCounts;
  readonly malformed: MalformedRecords;
}

interface ProjectedRow {
  readonly offset: number;
  readonly row: JsonInsert["rows"][number];
}

/**
 * One partition of JSON records into its table. The row's version is the record's offset and the table keeps the highest version
 * of each key, so inserting again after a crash changes nothing.
 */
export class ProjectionPartition implements PartitionHandler {
  readonly startOffset: number;
  readonly #partition: AssignedPartition;
  readonly #projection: Projection;
  readonly #ports: ProjectionPorts;

  constructor(partition: AssignedPartition, projection: Projection, ports: ProjectionPorts) {
    this.startOffset = partition.committed?.offset ?? partition.earliestOffset;
    this.#partition = partition;
    this.#projection = projection;
    this.#ports = ports;
  }

  async receive(messages: readonly BusMessage[]): Promise<void> {
    const last = messages.at(-1);
    if (last === undefined) return;
    const rows: ProjectedRow[] = [];
    for (const message of messages) {
      const projected = this.#project(message);
      if (typeof projected === "string") await this.#setAside(message.offset, projected);
      else if (projected !== null) rows.push(projected);
    }
    if (rows.length > 0) await this.#insert(rows);
    if (rows.length === messages.length) await this.#ports.malformed.passed(this.#projection.topic);
    await this.#retry("commit", () => this.#partition.commit(last.offset + 1));
  }

  /** The row, null for a tombstone (the table keeps the last state), or why the record has none. */
  #project({ value, offset, timestampUnixMs }: BusMessage): ProjectedRow | string | null {
    if (value === null) return null;
    const record = Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("utf8");
    try {
      const columns = this.#projection.columns(JSON.parse(record), timestampUnixMs);
      return { offset, row: { ...columns, version: this.#projection.version(columns, offset), record } };
    } catch (error) {
      if (error instanceof z.ZodError) return z.prettifyError(error);
      if (error instanceof SyntaxError) return error.message;
      throw error;
    }
  }

  async #insert(rows: readonly ProjectedRow[]): Promise<void> {
    const refusal = await this.#tryInsert(rows);
    if (refusal === null) {
      this.#ports.counts.recordsProjected += rows.length;
      return;
    }
    const [only] = rows;
    if (rows.length === 1 && only !== undefined) return this.#setAside(only.offset, refusal.message);
    for (const row of rows) await this.#insert([row]);
  }

  async #tryInsert(rows: readonly ProjectedRow[]): Promise<InsertError | null> {
    const { topic, table } = this.#projection;
    const at = `${topic}:${this.#partition.partition}`;
    const dedupToken = `${at}:${rows.at(0)?.offset}-${rows.at(-1)?.offset}:${table}:${rows.length}`;
    try {
      const insert = { table, rows: rows.map(({ row }) => row), dedupToken };
      await this.#retry(`insert ${table}`, () => this.#ports.insert.insertJson(insert));
      return null;
    } catch (error) {
      if (error instanceof InsertError && !error.retryable) return error;
      throw error;
    }
  }

  async #setAside(offset: number, reason: string): Promise<void> {
    this.#ports.counts.recordsMalformed++;
    await this.#ports.malformed.seen(this.#projection.topic, offset, reason);
  }

  #retry<T>(what: string, run: () => Promise<T>): Promise<T> {
    const { topic, partition, signal } = this.#partition;
    return this.#ports.retry({ what, at: `${topic}:${partition}`, signal }, run);
  }
}
