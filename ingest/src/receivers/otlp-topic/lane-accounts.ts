import { type Checkpoint, GatewayReport, type TelemetryTopic } from "@homeostat/schemas";
import { z } from "zod";

/** What a lane's producer has put on the bus since the sequence `since`: its last sequence, and rows. */
export interface LaneAccount {
  readonly producer: string;
  readonly since: number;
  readonly sequence: number;
  readonly rows: number;
}

/** What one message became in one lane. */
export interface LaneBatches {
  readonly producer: string;
  readonly first: number;
  readonly sequence: number;
  readonly rows: number;
}

/** By producer: as many as there are lanes. */
export type LaneAccounts = ReadonlyMap<string, LaneAccount>;

/** Lane, since, sequence, rows: 64 lanes of the largest numbers fit into METADATA_BYTES_MAX. */
const Note = z.strictObject({ lanes: z.array(z.tuple([z.int(), z.int(), z.int(), z.int()])) });

/**
 * The accounts are committed beside the offset whose messages they count, so that a message that is read again is counted once. A note that is
 * none of ours reads as nothing: the accounts begin anew, and say from which sequence on.
 */
export const writeAccounts = (accounts: LaneAccounts): string =>
  JSON.stringify({
    lanes: [...accounts.values()].map(({ producer, since, sequence, rows }) => [
      laneOf(producer),
      since,
      sequence,
      rows,
    ]),
  });

export const readAccounts = (metadata: string, prefix: string): LaneAccounts => {
  const note = Note.safeParse(jsonOf(metadata));
  return new Map(
    note.data?.lanes.map(([lane, since, sequence, rows]) => {
      const producer = `${prefix}-${lane}`;
      return [producer, { producer, since, sequence, rows }];
    }),
  );
};

/** The accounts with one message's batches counted in. */
export const countIn = (accounts: LaneAccounts, batches: readonly LaneBatches[]): LaneAccounts => {
  if (batches.length === 0) return accounts;
  const all = new Map(accounts);
  for (const { producer, first, sequence, rows } of batches) {
    const before = all.get(producer);
    all.set(producer, { producer, since: before?.since ?? first, sequence, rows: (before?.rows ?? 0) + rows });
  }
  return all;
};

export const reportOf = (
  accounts: LaneAccounts,
  at: {
    readonly prefix: string;
    readonly topic: TelemetryTopic;
    readonly nowUnixMs: number;
    readonly startedAtUnixMs: number;
  },
): GatewayReport => {
  const { prefix, topic, nowUnixMs, startedAtUnixMs } = at;
  const rows = [...accounts.values()].reduce((sum, account) => sum + account.rows, 0);
  const checkpoints = [...accounts.values()].map(
    ({ producer, since, sequence, rows }): Checkpoint => ({ topic, producer, sequence, rows, since_sequence: since }),
  );
  return GatewayReport.parse({
    gateway: prefix,
    at_unix_ms: nowUnixMs,
    started_at_unix_ms: startedAtUnixMs,
    receivers: [],
    topics: { [topic]: { produced: rows, delivered: rows, spooled: 0, dropped: {} } },
    checkpoints,
  });
};

const laneOf = (producer: string): number => Number(producer.slice(producer.lastIndexOf("-") + 1));

const jsonOf = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
};
