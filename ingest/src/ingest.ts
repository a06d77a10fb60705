import { setTimeout as delay } from "node:timers/promises";
import { type Bus, type ConsumeOptions, type Consumer, type Log, SCHEMAS_OF_TOPIC } from "@homeostat/schemas";
import type { ReportFinding } from "./health-finding.ts";
import type { IngestConfig } from "./ingest-config.ts";
import { type IngestCounts, noCounts } from "./ingest-counts.ts";
import type { InsertPort } from "./insert-port.ts";
import { MalformedRecords } from "./projection/malformed-records.ts";
import { ProjectionPartition } from "./projection/projection-partition.ts";
import { PROJECTIONS } from "./projection/projections.ts";
import { createRetry, type Retry, type Wait } from "./retry.ts";
import { StoreHealth } from "./store-health.ts";
import { RANGE_BYTES_MAX, RANGE_MESSAGES_MAX } from "./telemetry/range.ts";
import { TelemetryPartition } from "./telemetry/telemetry-partition.ts";
import { TelemetryTroubles } from "./telemetry/troubles.ts";

export interface IngestOptions {
  readonly bus: Bus;
  readonly insert: InsertPort;
  readonly config: IngestConfig;
  readonly now: () => number;
  readonly log: Log;
  /** For findings about ingest itself. */
  readonly reportFinding: ReportFinding;
  /** The host that ingest runs on: what those findings are about. */
  readonly host: string;
  readonly random?: () => number;
  readonly wait?: Wait;
}

export interface IngestStatus {
  /** `failing`: something cannot be written and waits on the bus. */
  readonly state: "stopped" | "running" | "failing";
  readonly failing: { readonly sinceUnixMs: number; readonly error: string } | null;
  readonly counts: Readonly<IngestCounts>;
}

export interface Ingest {
  start(): Promise<void>;
  /** Resolves when nothing is under way any more; an unfinished range is redone at the next start. */
  stop(): Promise<void>;
  status(): IngestStatus;
}

export const TELEMETRY_GROUP = "ingest";
export const PROJECTION_GROUP = "ingest-projection";

/** A quarter of a full insert is worth taking at once; less may gather for `max_wait_ms`. */
const TELEMETRY_MIN_BYTES = RANGE_BYTES_MAX / 4;
const PROJECTION_MESSAGES_MAX = 500;
const PROJECTION_BYTES_MAX = 4 * 1_048_576;

/** Troubles that ask to be told again, or are over, are looked for this often. */
const TELL_MS = 15_000;

const waitFor: Wait = async (ms, signal) => {
  await delay(ms, undefined, { signal });
};

export const createIngest = (options: IngestOptions): Ingest => {
  const { bus } = options;
  const counts = noCounts();
  const health = new StoreHealth(options);
  const troubles = new TelemetryTroubles(options);
  const plans = consumptions(options, counts, { health, troubles });
  const consumers: Consumer[] = [];
  let telling: NodeJS.Timeout | undefined;

  const stop = async (): Promise<void> => {
    clearInterval(telling);
    await Promise.all(consumers.splice(0).map((consumer) => consumer.stop()));
    await troubles.tell();
  };

  const start = async (): Promise<void> => {
    if (consumers.length > 0) throw new Error("ingest runs already");
    telling = setInterval(() => void troubles.tell(), TELL_MS).unref();
    try {
      for (const plan of plans) consumers.push(await bus.consume(plan));
    } catch (error) {
      await stop();
      throw error;
    }
  };

  const status = (): IngestStatus => {
    const failing = health.failing;
    const running = failing === null ? "running" : "failing";
    return {
      state: consumers.length === 0 ? "stopped" : running,
      failing,
      counts: { ...counts, dead: { ...counts.dead } },
    };
  };

  return { start, stop, status };
};

const consumptions = (
  options: IngestOptions,
  counts: IngestCounts,
  { health, troubles }: { readonly health: StoreHealth; readonly troubles: TelemetryTroubles },
): readonly ConsumeOptions[] => {
  const { log, random = Math.random, wait = waitFor } = options;
  const retry = createRetry({ health, counts, log, random, wait });
  const onError: ConsumeOptions["onError"] = (error, at) =>
    log.warn({ err: error, ...at }, "a partition failed and is tried again");
  return [
    { ...telemetryConsumption(options, { retry, counts, troubles }), onError },
    { ...projectionConsumption(options, retry, counts), onError },
  ];
};

const telemetryConsumption = (
  options: IngestOptions,
  ports: { readonly retry: Retry; readonly counts: IngestCounts; readonly troubles: TelemetryTroubles },
): ConsumeOptions => {
  const { bus, insert, config, now, log } = options;
  const limits = { lateMaxMs: config.late_max_ms, futureMaxMs: config.future_max_ms };
  return {
    group: TELEMETRY_GROUP,
    topics: Object.keys(SCHEMAS_OF_TOPIC),
    maxMessages: RANGE_MESSAGES_MAX,
    maxBytes: RANGE_BYTES_MAX,
    minBytes: TELEMETRY_MIN_BYTES,
    maxWaitMs: config.max_wait_ms,
    open: (partition) => TelemetryPartition.open(partition, { ...ports, bus, insert, log, now, limits }),
  };
};

const projectionConsumption = (options: IngestOptions, retry: Retry, counts: IngestCounts): ConsumeOptions => {
  const { insert } = options;
  const malformed = new MalformedRecords(options);
  return {
    group: PROJECTION_GROUP,
    topics: PROJECTIONS.map(({ topic }) => topic),
    maxMessages: PROJECTION_MESSAGES_MAX,
    maxBytes: PROJECTION_BYTES_MAX,
    open: async (partition) => {
      const projection = PROJECTIONS.find(({ topic }) => topic === partition.topic);
      if (projection === undefined) throw new Error(`no projection reads ${partition.topic}`);
      return new ProjectionPartition(partition, projection, { insert, retry, counts, malformed });
    },
  };
};
