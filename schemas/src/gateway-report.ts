import { z } from "zod";
import { Checkpoints, TopicLedgers } from "./heartbeat.ts";
import { UnixMs } from "./unix-ms.ts";

/** What one receiver took from one sender since the gateway began, in records: requests that were answered, and why records were not taken. */
const ReceiverCount = z.strictObject({
  /** `otlp`, `prometheus_remote_write`, `loki`, `elasticsearch`, `syslog`, … */
  receiver: z.string().min(1).max(64),
  sender: z.string().max(255),
  requests: z.int().min(0),
  accepted: z.int().min(0),
  rejected: z.record(z.string().max(64), z.int().min(0)),
});

/**
 * The value on `ingest.gateways`, keyed by gateway: the account of what takes telemetry from senders of other makes, a process or the reader of
 * one partition.
 */
export const GatewayReport = z.strictObject({
  /** The prefix of its producers' names: `gateway:<host>/<random id>`, or `topic:<topic>/<partition>`. */
  gateway: z.string().min(1).max(300),
  at_unix_ms: UnixMs,
  started_at_unix_ms: UnixMs,
  receivers: z.array(ReceiverCount).max(1000),
  topics: TopicLedgers,
  checkpoints: Checkpoints,
});
export type GatewayReport = z.infer<typeof GatewayReport>;
