import type { Store } from "../../analytics/src/index.ts";
import {
  BatchBuilder,
  type CommandResult,
  type IncidentRecord,
  type Log,
  metricId,
  seriesFingerprint,
} from "../../schemas/src/index.ts";

export const nothing = () => undefined;
export const quietLog: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

export const DAY_MS = 86_400_000;
/** Noon of yesterday: no test straddles midnight, and nothing is so old that its retention drops it. */
export const NOON = Math.floor(Date.now() / DAY_MS) * DAY_MS - DAY_MS / 2;
export const AROUND = { from_unix_ms: NOON - 3_600_000, to_unix_ms: NOON + 3_600_000 };

let sequence = 0;
const origin = () => ({ producer: "host-1/test", sequence: ++sequence });

export interface LogLine {
  readonly body: string;
  readonly atMs?: number;
  readonly severity?: number;
  readonly service?: string;
  readonly trace?: string;
  readonly resource?: bigint;
}

export const logBatch = (lines: readonly LogLine[]): Uint8Array => {
  const builder = new BatchBuilder("logs");
  for (const { body, atMs = NOON, severity = 9, service = "shop", trace = "", resource = 0n } of lines)
    builder.append({
      timestamp: BigInt(atMs) * 1_000_000n,
      severity_number: severity,
      service_name: service,
      host_name: "host-1",
      trace_id: trace,
      span_id: "",
      body,
      attributes: { "log.file.path": "/var/log/shop.log" },
      observed_timestamp: BigInt(atMs + 1) * 1_000_000n,
      severity_text: severity >= 17 ? "ERROR" : "INFO",
      event_name: "",
      scope_name: "shop.log",
      trace_flags: trace === "" ? 0 : 1,
      resource_id: resource,
    });
  return builder.finish(origin());
};

export interface SeriesOfPoints {
  readonly name: string;
  readonly kind?: "gauge" | "counter";
  readonly labels: Readonly<Record<string, string>>;
  /** Seconds after noon, and the value. */
  readonly points: readonly (readonly [number, number])[];
}

export const insertSeries = async (store: Store, all: readonly SeriesOfPoints[]): Promise<void> => {
  const series = new BatchBuilder("metric_series");
  const samples = new BatchBuilder("metric_samples");
  for (const { name, kind = "gauge", labels, points } of all) {
    const id = { metric_id: metricId(name), fingerprint: seriesFingerprint(name, labels) };
    series.append({
      ...id,
      seen_at: NOON,
      metric_name: name,
      kind,
      unit: "By",
      host_name: labels["host.name"] ?? "",
      service_name: labels["service.name"] ?? "",
      attributes: labels,
    });
    for (const [second, value] of points) samples.append({ ...id, timestamp: NOON + second * 1000, value });
  }
  const counts = [series.rowCount, samples.rowCount] as const;
  const token = `series-${++sequence}`;
  await store.insertNative({
    table: "metric_series",
    frames: [series.finish(origin())],
    dedupToken: token,
    rowCount: counts[0],
  });
  await store.insertNative({
    table: "metric_samples",
    frames: [samples.finish(origin())],
    dedupToken: token,
    rowCount: counts[1],
  });
};

export const incidentRecord = (id: string, version: number, state: "open" | "resolved"): IncidentRecord => ({
  event: state,
  at_unix_ms: NOON + version,
  incident: {
    incident_id: id,
    state,
    state_since_unix_ms: NOON,
    severity: "critical",
    title: `incident ${id}`,
    entity: { host: "host-1", service: "shop" },
    findings: [],
    run_ids: [],
    times: {
      started_at_unix_ms: NOON,
      detected_at_unix_ms: NOON,
      opened_at_unix_ms: NOON,
      diagnosed_at_unix_ms: null,
      mitigation_started_at_unix_ms: null,
      recovered_at_unix_ms: state === "resolved" ? NOON + version : null,
      closed_at_unix_ms: null,
    },
    acknowledged: null,
    timeline: [],
    version,
  },
});

export const insertIncident = (store: Store, record: IncidentRecord): Promise<void> =>
  store.insertJson({
    table: "incidents",
    rows: [
      {
        incident_id: record.incident.incident_id,
        state: record.incident.state,
        severity: record.incident.severity,
        title: record.incident.title,
        host_name: record.incident.entity.host,
        service_name: record.incident.entity.service ?? "",
        started_at: record.incident.times.started_at_unix_ms,
        detected_at: record.incident.times.detected_at_unix_ms,
        opened_at: record.incident.times.opened_at_unix_ms,
        version: record.incident.version,
        record: JSON.stringify(record),
      },
    ],
    dedupToken: `${record.incident.incident_id}-${record.incident.version}`,
  });

/** Never begun, so without a time of its own. */
export const refusedResult: CommandResult = {
  command_id: "c-1",
  host: "host-1",
  executor: "exec.run",
  state: "refused",
  exit_code: null,
  stdout: "",
  stderr: "",
  output_truncated: false,
  started_at_unix_ms: null,
  ended_at_unix_ms: null,
  message: "not on the allow list",
};

export const insertResult = (store: Store, result: CommandResult, at: number): Promise<void> => {
  const { command_id, host: host_name, executor, state } = result;
  return store.insertJson({
    table: "agent_results",
    rows: [{ command_id, host_name, executor, state, at, version: 1, record: JSON.stringify(result) }],
    dedupToken: `${command_id} ${host_name}`,
  });
};
