import { z } from "zod";
import { PluginStatus } from "./plugin.ts";
import { UnixMs } from "./unix-ms.ts";

export const AgentState = z.enum(["registering", "online", "degraded", "offline", "retired", "quarantined"]);
export type AgentState = z.infer<typeof AgentState>;

/** produced = delivered + spooled + dropped, in records, always; `dropped` by reason. Counted since the spool was made. */
export const Ledger = z.strictObject({
  produced: z.int().min(0),
  delivered: z.int().min(0),
  spooled: z.int().min(0),
  dropped: z.record(z.string().max(64), z.int().min(0)),
});
export type Ledger = z.infer<typeof Ledger>;

/** The same account for each topic of telemetry, by its name. */
export const TopicLedgers = z.record(z.string().min(1).max(64), Ledger);
export type TopicLedgers = z.infer<typeof TopicLedgers>;

/**
 * Rows of one producer on one topic that the bus had taken with this sequence and all before it. Ingest knows to which of its rows each
 * sequence belongs, so that the two can be compared while more is on its way.
 */
export const Checkpoint = z.strictObject({
  topic: z.string().min(1).max(64),
  producer: z.string().min(1).max(300),
  sequence: z.int().min(0),
  rows: z.int().min(0),
  /** The first sequence that `rows` include; 1: the producer's first, whatever its topic. */
  since_sequence: z.int().min(0).default(1),
});
export type Checkpoint = z.infer<typeof Checkpoint>;

/** One for each topic of an agent; of a gateway or a reader, for each of its lanes too. Empty from senders that do not tell. */
export const Checkpoints = z.array(Checkpoint).max(1000).default([]);

/** The value on `agent.heartbeats`, keyed by host. */
export const Heartbeat = z.strictObject({
  host: z.string().min(1).max(255),
  agent_version: z.string().max(64),
  state: AgentState,
  /** Why the agent is degraded, one line each. */
  problems: z.array(z.string().max(500)).max(20),
  at_unix_ms: UnixMs,
  started_at_unix_ms: UnixMs,
  /** Of all topics together. */
  ledger: Ledger,
  /** Empty from agents that do not tell. */
  topics: TopicLedgers.default({}),
  checkpoints: Checkpoints,
  spool_bytes: z.int().min(0),
  /** Empty from agents that speak to the bus themselves and have no identity. */
  site: z.string().max(64).default(""),
  labels: z.record(z.string().max(63), z.string().max(253)).default({}),
  plugins: z.array(PluginStatus).max(128).default([]),
  /** This host's clock less the control plane's, half the round trip taken off; null until it has been measured. */
  clock_skew_ms: z.number().nullable().default(null),
});
export type Heartbeat = z.infer<typeof Heartbeat>;
