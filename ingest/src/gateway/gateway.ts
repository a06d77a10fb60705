import { setTimeout as delay } from "node:timers/promises";
import {
  type Bus,
  type Checkpoint,
  GatewayReport,
  type Log,
  type TelemetryTopic,
  type TopicLedgers,
} from "@homeostat/schemas";
import type { ReportFinding } from "../health-finding.ts";
import { BusHealth } from "./bus-health.ts";
import { ByteRoom } from "./byte-room.ts";
import { Cardinality } from "./cardinality.ts";
import { fencesAt } from "./fences.ts";
import type { GatewayConfig } from "./gateway-config.ts";
import { HealthEpisodes } from "./health-episodes.ts";
import { Identities } from "./identities.ts";
import type { Gateway } from "./intake.ts";
import { Lane } from "./lane.ts";
import { TopicLedger } from "./ledger.ts";
import { countRejected, ReceiverCounts } from "./receiver-counts.ts";
import { Rows } from "./rows.ts";
import { type RefusedRequest, type RequestRefusal, SenderRefusals } from "./sender-refusals.ts";
import { SenderTimes } from "./sender-times.ts";
import { GatewaySubmission } from "./submission.ts";

const CHECK_MS = 1000;
const REPORT_MS = 15_000;
/** How long a stop goes on publishing; what the bus has not taken by then was not acknowledged, and its sender sends it again. */
const STOP_MS = 10_000;

export interface GatewayOptions {
  readonly bus: Bus;
  readonly config: GatewayConfig;
  /** The host that the gateway runs on: what findings about itself are about, and a part of its producers' names. */
  readonly host: string;
  readonly now: () => number;
  readonly log: Log;
  readonly reportFinding: ReportFinding;
  /** Never the same twice: sequences begin anew with each gateway, so its producers must be new too. */
  readonly randomId: () => string;
  readonly random?: () => number;
  /** Resolves after `ms`, or when the signal aborts. */
  readonly wait?: (ms: number, signal: AbortSignal) => Promise<void>;
}

export interface GatewayStatus {
  /** The prefix of its producers' names. */
  readonly gateway: string;
  /** `failing`: the bus does not take batches, and they wait. */
  readonly state: "stopped" | "running" | "failing";
  readonly failing: { readonly sinceUnixMs: number; readonly error: string } | null;
  /** Of bodies and batches, as `in_flight_bytes_max` counts them. */
  readonly heldBytes: number;
  readonly remembered: { readonly resources: number; readonly series: number };
  readonly receivers: GatewayReport["receivers"];
  readonly topics: TopicLedgers;
}

export interface RunningGateway extends Gateway {
  /** What bodies are counted into while they arrive. */
  readonly room: ByteRoom;
  /** Counts a request that was refused before its records could be counted, as one. Many of one sender are a finding. */
  countRefusal(request: RefusedRequest, refusal: RequestRefusal): void;
  /** Begins the checks and reports. Records are taken without it. */
  start(): void;
  /** Takes nothing new, publishes what there is for at most ten seconds, and reports for the last time. */
  stop(): Promise<void>;
  status(): GatewayStatus;
  /** Looks for findings and tells them; `start` has it run once a second. */
  check(): Promise<void>;
  /** Publishes a GatewayReport; `start` has it run every fifteen seconds. */
  report(): Promise<void>;
}

const TOPICS: readonly TelemetryTopic[] = ["telemetry.logs", "telemetry.metrics"];

/** Resolves on abort too: who waits looks at the signal. */
const waitFor = async (ms: number, signal: AbortSignal): Promise<void> => {
  try {
    await delay(ms, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
};

/**
 * Takes records of many senders and makes the batches that our agents make, into the same topics. A commit resolves when the bus has them.
 * Memory: `in_flight_bytes_max` for bodies and batches (and once more what one request may bring, its own caps), `identities_bytes_max` for
 * series and resources, about 30 MB for budgets, and about 1 MiB for each lane and schema whose batch is being gathered.
 */
export const createGateway = (options: GatewayOptions): RunningGateway => {
  const { host, now, randomId } = options;
  const name = `gateway:${host}/${randomId()}`;
  const parts = createParts(options);
  const lanes = createLanes(options, parts, name);
  const rows = new Rows({ logs: lanes.logs, metrics: lanes.metrics, now });
  lanes.onLost = () => rows.forgetTold();
  let isStopped = false;
  const state = { name, startedAtUnixMs: now(), isStopped: () => isStopped };
  const intake = createIntake({ ...options, ...parts, ...state, lanes, rows });
  const account = createAccount({ ...options, ...parts, ...state, lanes });

  const check = async (): Promise<void> => {
    parts.health.check();
    parts.senderTimes.check();
    parts.senderRefusals.check();
    parts.cardinality.check();
    await parts.episodes.tell();
  };

  const timers: NodeJS.Timeout[] = [];
  const start = (): void => {
    if (timers.length === 0) timers.push(setInterval(check, CHECK_MS), setInterval(account.report, REPORT_MS));
  };

  const stop = async (): Promise<void> => {
    if (isStopped) return;
    isStopped = true;
    for (const timer of timers.splice(0)) clearInterval(timer);
    const deadline = AbortSignal.timeout(STOP_MS);
    await Promise.all(lanes.all.map((lane) => lane.stop(deadline)));
    await account.report();
  };

  return { room: parts.room, ...intake, ...account, start, stop, check };
};

/** What `createIntake` and `createAccount` work with. */
interface Whole extends GatewayOptions, Parts {
  readonly name: string;
  readonly startedAtUnixMs: number;
  readonly isStopped: () => boolean;
  readonly lanes: Lanes;
}

const heldBytes = ({ room, lanes }: Pick<Whole, "room" | "lanes">): number =>
  room.held + lanes.all.reduce((sum, lane) => sum + lane.openBytes, 0);

const createIntake = (whole: Whole & { readonly rows: Rows }): Gateway => {
  const { config, now, room, counts, identities, cardinality, isStopped } = whole;
  return {
    resource: (resource) => identities.resource(resource),
    series: (identity) => {
      const { entry, isNew } = identities.series(identity);
      if (isNew && entry.refusal === null && cardinality.admit(entry, now())) identities.remember(entry);
      return entry;
    },
    admit: ({ sender, receiver, bytes }) => {
      const account = room.open();
      if (isStopped() || heldBytes(whole) > config.in_flight_bytes_max || !account.take(bytes)) return null;
      const nowUnixMs = now();
      return new GatewaySubmission({
        ...whole,
        fences: fencesAt(nowUnixMs, config),
        recordsMax: config.records_per_request_max,
        sender,
        count: counts.of(receiver, sender),
        account,
        nowUnixMs,
      });
    },
  };
};

const createAccount = (whole: Whole): Pick<RunningGateway, "countRefusal" | "report" | "status"> => {
  const { bus, now, log, name, startedAtUnixMs, counts, ledgers, health, identities, isStopped, lanes } = whole;
  const topics = (): TopicLedgers => Object.fromEntries([...ledgers].map(([topic, ledger]) => [topic, ledger.read()]));
  const checkpoints = (): Checkpoint[] =>
    lanes.all.map(({ checkpoint }) => checkpoint).filter((checkpoint) => checkpoint !== null);
  return {
    countRefusal: (request, refusal) => {
      countRejected(counts.of(request.receiver, request.sender), refusal.reason, 1);
      whole.senderRefusals.note(request, refusal);
    },
    report: async () => {
      const at = { gateway: name, at_unix_ms: now(), started_at_unix_ms: startedAtUnixMs };
      try {
        const json = JSON.stringify(
          GatewayReport.parse({ ...at, receivers: counts.read(), topics: topics(), checkpoints: checkpoints() }),
        );
        await bus.publish([{ topic: "ingest.gateways", key: name, value: Buffer.from(json) }]);
      } catch (error) {
        // The next one says it all again.
        log.warn({ err: error }, "the gateway's report cannot be published");
      }
    },
    status: () => {
      const running = health.failing === null ? "running" : "failing";
      return {
        gateway: name,
        state: isStopped() ? "stopped" : running,
        failing: health.failing,
        heldBytes: heldBytes(whole),
        remembered: identities.counts,
        receivers: counts.read(),
        topics: topics(),
      };
    },
  };
};

interface Parts {
  readonly episodes: HealthEpisodes;
  readonly room: ByteRoom;
  readonly counts: ReceiverCounts;
  readonly health: BusHealth;
  readonly senderTimes: SenderTimes;
  readonly senderRefusals: SenderRefusals;
  readonly identities: Identities;
  readonly cardinality: Cardinality;
  readonly ledgers: ReadonlyMap<TelemetryTopic, TopicLedger>;
}

const createParts = (options: GatewayOptions): Parts => {
  const { config, now, log } = options;
  const episodes = new HealthEpisodes(options);
  return {
    episodes,
    room: new ByteRoom(config.in_flight_bytes_max),
    counts: new ReceiverCounts(),
    health: new BusHealth({ now, log, episodes }),
    senderTimes: new SenderTimes({ now, episodes }),
    senderRefusals: new SenderRefusals({ now, episodes }),
    identities: new Identities({ lanes: config.lanes, bytesMax: config.identities_bytes_max }),
    cardinality: new Cardinality({
      seriesMax: config.series_per_metric_max,
      windowMs: config.cardinality_window_ms,
      now,
      episodes,
    }),
    ledgers: new Map(TOPICS.map((topic) => [topic, new TopicLedger()])),
  };
};

interface Lanes {
  readonly logs: readonly Lane[];
  readonly metrics: readonly Lane[];
  readonly all: readonly Lane[];
  onLost: () => void;
}

const createLanes = (options: GatewayOptions, parts: Parts, name: string): Lanes => {
  const { bus, config, random = Math.random, wait = waitFor } = options;
  const { room, health, ledgers } = parts;
  const lanesOf = (topic: TelemetryTopic): Lane[] =>
    Array.from({ length: config.lanes }, (_, index) => {
      const ledger = ledgers.get(topic) ?? new TopicLedger();
      const key = `lane-${index}`;
      const producer = `${name}-${index}`;
      const onLost = () => lanes.onLost();
      return new Lane({
        topic,
        key,
        producer,
        bus,
        lingerMs: config.linger_ms,
        room,
        health,
        ledger,
        random,
        wait,
        onLost,
      });
    });
  const logs = lanesOf("telemetry.logs");
  const metrics = lanesOf("telemetry.metrics");
  const lanes: Lanes = { logs, metrics, all: [...logs, ...metrics], onLost: () => undefined };
  return lanes;
};
