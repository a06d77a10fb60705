import {
  CommandResult,
  Finding,
  GatewayReport,
  Heartbeat,
  IncidentRecord,
  Notification,
  RemediationRecord,
  type TopicName,
} from "@homeostat/schemas";
import type { z } from "zod";
import type { JsonInsert, RecordTable } from "../insert-port.ts";
import { hostOfProducer } from "../telemetry/ledger-rows.ts";

type Row = JsonInsert["rows"][number];

/** One topic of JSON records and the table that holds the newest state of each key. */
export interface Projection {
  readonly topic: TopicName;
  readonly table: RecordTable;
  /** The columns beside `version` and `record`, or a ZodError for what is not such a record. */
  columns(value: unknown, takenAtUnixMs: number): Row;
  /** Of what stands in the table under one key, the row with the highest version is the one that counts. */
  version(columns: Row, offset: number): number;
}

const newestCounts = (_columns: Row, offset: number): number => offset;

/** The first end stands, as control has it (job-run.ts): `lost` alone gives way, to whatever is known of it later. */
const firstEndCounts = ({ state }: Row, offset: number): number =>
  state === "lost" ? offset : Number.MAX_SAFE_INTEGER - offset;

const projection = <Schema extends z.ZodType>(options: {
  readonly topic: TopicName;
  readonly table: RecordTable;
  readonly schema: Schema;
  readonly columns: (record: z.output<Schema>, takenAtUnixMs: number) => Row;
  readonly version?: Projection["version"];
}): Projection => ({
  topic: options.topic,
  table: options.table,
  columns: (value, takenAtUnixMs) => options.columns(options.schema.parse(value), takenAtUnixMs),
  version: options.version ?? newestCounts,
});

export const PROJECTIONS: readonly Projection[] = [
  projection({
    topic: "detect.findings",
    table: "findings",
    schema: Finding,
    columns: (finding) => ({
      finding_id: finding.finding_id,
      rule: finding.rule,
      detector: finding.detector,
      state: finding.state,
      severity: finding.severity,
      category: finding.category,
      host_name: finding.entity.host,
      service_name: finding.entity.service ?? "",
      started_at: finding.started_at_unix_ms,
      detected_at: finding.detected_at_unix_ms,
    }),
  }),
  projection({
    topic: "incidents.journal",
    table: "incidents",
    schema: IncidentRecord,
    columns: ({ incident }) => ({
      incident_id: incident.incident_id,
      state: incident.state,
      severity: incident.severity,
      title: incident.title,
      host_name: incident.entity.host,
      service_name: incident.entity.service ?? "",
      started_at: incident.times.started_at_unix_ms,
      detected_at: incident.times.detected_at_unix_ms,
      opened_at: incident.times.opened_at_unix_ms,
    }),
  }),
  projection({
    topic: "remediation.journal",
    table: "remediation_runs",
    schema: RemediationRecord,
    columns: ({ run }) => ({
      run_id: run.run_id,
      incident_id: run.incident_id,
      runbook: run.runbook,
      state: run.state,
      host_name: run.entity.host,
      proposed_at: run.times.proposed_at_unix_ms,
    }),
  }),
  projection({
    topic: "agent.results",
    table: "agent_results",
    schema: CommandResult,
    columns: (result, takenAtUnixMs) => ({
      command_id: result.command_id,
      host_name: result.host,
      executor: result.executor,
      state: result.state,
      at: result.ended_at_unix_ms ?? result.started_at_unix_ms ?? takenAtUnixMs,
    }),
    version: firstEndCounts,
  }),
  projection({
    topic: "agent.heartbeats",
    table: "heartbeats",
    schema: Heartbeat,
    columns: (heartbeat) => ({ host_name: heartbeat.host, state: heartbeat.state, at: heartbeat.at_unix_ms }),
  }),
  projection({
    topic: "ingest.gateways",
    table: "gateways",
    schema: GatewayReport,
    columns: ({ gateway, at_unix_ms }) => ({ gateway, host_name: hostOfProducer(gateway), at: at_unix_ms }),
  }),
  projection({
    topic: "notify.outbox",
    table: "notifications",
    schema: Notification,
    columns: (notification) => ({
      delivery_id: notification.delivery_id,
      incident_id: notification.incident_id,
      receiver: notification.receiver,
      state: notification.state,
      created_at: notification.created_at_unix_ms,
    }),
  }),
];
