import { incidentMetrics, logSearch, type Store } from "@homeostat/analytics";
import { type IncidentEvidence, type LogLine, type MetricSeries, rankCauses } from "@homeostat/detectors";
import type { Suspect } from "@homeostat/remediation";
import type { Incident } from "@homeostat/schemas";

/** The time before an incident that counts as normal, and the time around its beginning that is compared with it. */
const NORMAL_MS = 3_600_000;
const BEFORE_MS = 120_000;
const AFTER_MS = 300_000;
const STEP_MS = 10_000;
const LINES_MAX = 5000;
const HOSTS_MAX = 10;
const SUSPECTS_MAX = 10;

/** What our own agent says of itself is no cause of what it sees. */
const isOwn = (metric: string): boolean => metric.startsWith("homeostat.agent.");

const ofHost = (host: string, service: string): string => (service === "" ? host : `${service} on ${host}`);

/** A series' own labels, without those that say whose it is. */
const kindOf = (metric: string, labels: Readonly<Record<string, string>>): string => {
  const own = Object.entries(labels)
    .filter(([name]) => name !== "host.name" && name !== "service.name")
    .map(([name, value]) => `${name}=${value}`);
  return own.length === 0 ? metric : `${metric} ${own.join(" ")}`;
};

const metricsOf = async (
  store: Store,
  hosts: readonly string[],
  { from, begin, to }: Times,
): Promise<readonly MetricSeries[]> => {
  const rows = await store.run(incidentMetrics, {
    host_names: [...hosts],
    from_unix_ms: from,
    to_unix_ms: to,
    step_ms: STEP_MS,
  });
  return rows
    .filter(({ metric_name }) => !isOwn(metric_name))
    .map(({ metric_name, host_name, service_name, labels, steps_unix_ms, values }) => {
      const first = steps_unix_ms.findIndex((at) => at >= begin);
      const cut = first < 0 ? values.length : first;
      return {
        service: ofHost(host_name, service_name),
        kind: kindOf(metric_name, labels),
        timesUnixMs: steps_unix_ms.slice(cut),
        values: values.slice(cut),
        normalValues: values.slice(0, cut),
      };
    });
};

const linesOf = async (store: Store, host: string, from: number, to: number): Promise<readonly LogLine[]> => {
  const rows = await store.run(logSearch, { host_name: host, from_unix_ms: from, to_unix_ms: to, limit: LINES_MAX });
  return rows.map(({ time_unix_nano, host_name, service_name, trace_id, body }) => ({
    timeUnixUs: Math.floor(Number(time_unix_nano) / 1000),
    service: ofHost(host_name, service_name),
    traceId: trace_id,
    message: body,
  }));
};

interface Times {
  readonly from: number;
  /** Before it everything counts as normal. */
  readonly begin: number;
  readonly to: number;
}

/** Who an incident most likely began with, most likely first: from the metrics and log lines of the hosts that it touched. */
export const findSuspects = async (store: Store, incident: Incident): Promise<readonly Suspect[]> => {
  const { started_at_unix_ms, detected_at_unix_ms } = incident.times;
  const begin = started_at_unix_ms - BEFORE_MS;
  const times: Times = { from: begin - NORMAL_MS, begin, to: detected_at_unix_ms + AFTER_MS };
  const hosts = [...new Set([incident.entity.host, ...incident.findings.map(({ entity }) => entity.host)])];
  const some = hosts.slice(0, HOSTS_MAX);
  const perHost = (from: number, to: number) => Promise.all(some.map((host) => linesOf(store, host, from, to)));
  const [metrics, logs, normalLogs] = await Promise.all([
    metricsOf(store, some, times),
    perHost(times.begin, times.to),
    perHost(times.from, times.begin),
  ]);
  const evidence: IncidentEvidence = {
    detectedAtUnixMs: detected_at_unix_ms,
    metrics,
    logs: logs.flat(),
    normalLogs: normalLogs.flat(),
  };
  return rankCauses(evidence)
    .services.filter(({ reasons }) => reasons.length > 0)
    .slice(0, SUSPECTS_MAX)
    .map(({ name, score, reasons, whyNot }) => ({ name, score, reasons: [...reasons], why_not: whyNot ?? null }));
};
