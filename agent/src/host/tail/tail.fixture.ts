import { mkdirSync, mkdtempSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeBatch } from "@homeostat/schemas";
import { onTestFinished } from "vitest";
import { LogSource } from "../config.ts";
import { quietLog } from "../quiet-log.fixture.ts";
import { Spool, type WriteAt } from "../spool/spool.ts";
import { Tail } from "./tail.ts";

/* A folder with log files and a spool, and a tail between the two that looks when it is told to. */

export const NOW = 1_800_000_000_000;

export interface TailFolder {
  readonly root: string;
  /** Where the log files are. */
  readonly logs: string;
  /** The one spool of this folder, as it is found. */
  openSpool(write?: WriteAt): Spool;
}

/** It goes with the test. */
export const openFolder = (): TailFolder => {
  const root = mkdtempSync(join(tmpdir(), "tail-"));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const logs = join(root, "logs");
  mkdirSync(logs);
  return {
    root,
    logs,
    openSpool: (write = writeSync) =>
      Spool.open({ dir: join(root, "spool"), host: "h", bytesMax: 16_000_000, log: quietLog, write }),
  };
};

export const begin = (spool: Spool, source: Partial<LogSource> & { path: string }, filesMax = 256): Tail =>
  new Tail({ sources: [LogSource.parse({ service: "shop", ...source })], filesMax, host: "h", spool, log: quietLog });

/** Reads all that is there. False: the spool did not take all of it. */
export const look = (tail: Tail, nowUnixMs = NOW): boolean => {
  tail.scan(nowUnixMs);
  while (tail.read(nowUnixMs));
  return tail.flush();
};

interface Row {
  readonly body: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly severity: number;
  readonly timestampMs: number;
}

/** Everything that is in the spool, which forgets it. */
export const take = async (spool: Spool): Promise<Row[]> => {
  await spool.sync();
  const records = spool.peek({ recordsMax: 10_000, bytesMax: 1e12 });
  spool.ack(records);
  return records.flatMap(({ value }) => {
    const batch = decodeBatch(value);
    if (batch.schema !== "logs") throw new Error("not logs");
    return Array.from({ length: batch.rowCount }, (_, row) => ({
      body: String(batch.column("body").at(row)),
      attributes: batch.column("attributes").at(row),
      severity: batch.column("severity_number").at(row) ?? -1,
      timestampMs: Number((batch.column("timestamp").at(row) ?? 0n) / 1_000_000n),
    }));
  });
};

export const bodies = async (spool: Spool): Promise<string[]> => (await take(spool)).map(({ body }) => body);
