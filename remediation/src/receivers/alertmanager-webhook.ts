import { entityKey, type Finding, type Incident, seriesFingerprint } from "@homeostat/schemas";

/**
 * What Alertmanager posts to a webhook, version "4"
 * (https://prometheus.io/docs/alerting/latest/configuration/#webhook_config): one group for each incident, one alert for each finding.
 */
export interface AlertmanagerPayload {
  readonly version: "4";
  readonly groupKey: string;
  readonly truncatedAlerts: number;
  readonly status: "firing" | "resolved";
  readonly receiver: string;
  readonly groupLabels: Readonly<Record<string, string>>;
  readonly commonLabels: Readonly<Record<string, string>>;
  readonly commonAnnotations: Readonly<Record<string, string>>;
  readonly externalURL: string;
  readonly alerts: readonly AlertmanagerAlert[];
}

export interface AlertmanagerAlert {
  readonly status: "firing" | "resolved";
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly startsAt: string;
  readonly endsAt: string;
  readonly generatorURL: string;
  readonly fingerprint: string;
}

const ALERTS_MAX = 20;
/** Go's zero time: what Alertmanager sends while an alert has no end. */
const NO_END = "0001-01-01T00:00:00Z";

const rfc3339 = (unixMs: number): string => new Date(Math.min(unixMs, 8_640_000_000_000_000)).toISOString();

/** Prometheus' label names: anything else in ours becomes an underscore. */
const labelName = (name: string): string => name.replace(/[^a-zA-Z0-9_]/g, "_").replace(/^(?=\d)/, "_");

const labelsOf = ({ rule, severity, category, detector, entity, labels }: Finding): Record<string, string> => ({
  ...Object.fromEntries(Object.entries(labels).map(([name, value]) => [labelName(name), value])),
  alertname: rule,
  severity,
  category,
  detector,
  host: entity.host,
  ...(entity.service !== undefined && { service: entity.service }),
  ...(entity.path !== undefined && { path: entity.path }),
});

const alertOf = (finding: Finding, incidentUrl: string): AlertmanagerAlert => {
  const labels = labelsOf(finding);
  const isResolved = finding.state === "resolved";
  return {
    status: isResolved ? "resolved" : "firing",
    labels,
    annotations: { summary: finding.summary },
    startsAt: rfc3339(finding.started_at_unix_ms),
    endsAt: isResolved ? rfc3339(finding.detected_at_unix_ms) : NO_END,
    generatorURL: incidentUrl,
    fingerprint: seriesFingerprint(finding.rule, labels).toString(16).padStart(16, "0"),
  };
};

const inAll = (records: readonly Readonly<Record<string, string>>[]): Record<string, string> => {
  const [first = {}, ...rest] = records;
  return Object.fromEntries(
    Object.entries(first).filter(([name, value]) => rest.every((record) => record[name] === value)),
  );
};

export const alertmanagerPayload = (
  incident: Incident,
  { receiver, externalUrl }: { readonly receiver: string; readonly externalUrl: string },
): AlertmanagerPayload => {
  const incidentUrl = `${externalUrl.replace(/\/+$/, "")}/api/v1/incidents/${encodeURIComponent(incident.incident_id)}`;
  const newestFirst = incident.findings.toReversed();
  const alerts = newestFirst.slice(0, ALERTS_MAX).map((finding) => alertOf(finding, incidentUrl));
  const isOver = incident.state === "resolved" || incident.state === "closed";
  return {
    version: "4",
    groupKey: `homeostat:${entityKey(incident.entity)}:${incident.incident_id}`,
    truncatedAlerts: newestFirst.length - alerts.length,
    status: isOver ? "resolved" : "firing",
    receiver,
    groupLabels: { incident_id: incident.incident_id },
    commonLabels: inAll(alerts.map(({ labels }) => labels)),
    commonAnnotations: {
      ...inAll(alerts.map(({ annotations }) => annotations)),
      title: incident.title,
      incident_state: incident.state,
      last_event: incident.timeline.at(-1)?.text ?? "",
    },
    externalURL: externalUrl,
    alerts,
  };
};
