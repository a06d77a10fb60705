import type { Entity, Evidence } from "@homeostat/schemas";
import { z } from "zod";
import { clip } from "./episode.ts";

export interface Series {
  /** Hexadecimal, 16 digits. */
  readonly fingerprint: string;
  readonly metric: string;
  readonly unit: string;
  /** A monotonic sum: detectors look at its rate per second. */
  readonly isCounter: boolean;
  readonly host: string;
  readonly service: string;
  readonly labels: Readonly<Record<string, string>>;
}

const Label = z.string().min(1).max(100);

/** Which series a rule watches: the metric, the labels that must be equal, and values that a label must not have. */
export const Selector = {
  metric: z.string().min(1).max(255),
  labels: z.record(Label, z.string().max(1000)).default({}),
  not_labels: z.record(Label, z.array(z.string().max(1000)).max(100)).default({}),
};

export const matches = (
  series: Series,
  selector: {
    readonly metric: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly not_labels: Readonly<Record<string, readonly string[]>>;
  },
): boolean =>
  series.metric === selector.metric &&
  Object.entries(selector.labels).every(([name, value]) => labelOf(series, name) === value) &&
  Object.entries(selector.not_labels).every(([name, values]) => !values.includes(labelOf(series, name)));

/** Of a configuration: a metric and the labels that its series must have. */
export interface Selected {
  readonly metric: string;
  readonly labels: Readonly<Record<string, string>>;
}

const labelOf = ({ labels, host, service }: Series, name: string): string =>
  labels[name] ?? (name === "host.name" ? host : name === "service.name" ? service : "");

/** A declared path goes by its name, a file system by its mount point. */
export const entityOf = (series: Series): Entity => {
  const service = labelOf(series, "service.name");
  const path = series.labels["path.name"] ?? series.labels.mountpoint ?? "";
  return {
    host: series.host.slice(0, 255),
    ...(service !== "" && { service: service.slice(0, 255) }),
    ...(path !== "" && { path: path.slice(0, 4096) }),
  };
};

const FINDING_LABELS_MAX = 20;

export const findingLabels = (series: Series): Record<string, string> => {
  const labels = Object.entries(series.labels)
    .filter(([name]) => name.length <= 98)
    .slice(0, FINDING_LABELS_MAX)
    .map(([name, value]) => [name, clip(value, 1000)]);
  return { ...Object.fromEntries(labels), metric: clip(series.metric, 1000) };
};

/** Rates are per second. */
export const unitOf = (series: Series): string =>
  (series.isCounter ? `${series.unit === "1" ? "" : series.unit}/s` : series.unit).slice(0, 32);

const TITLE_PLACEHOLDER = /\{([a-z._]+)\}/g;

/** `{label}` in a rule's title stands for the label's value. */
export const titleFor = (title: string, series: Series): string =>
  title.replace(TITLE_PLACEHOLDER, (_, name: string) => labelOf(series, name) || `(no ${name})`);

const EVIDENCE_BEFORE_MS = 300_000;

export const metricEvidence = (
  series: Series,
  range: { readonly startedUnixMs: number; readonly toUnixMs: number; readonly summary: string },
): Evidence => ({
  query: "metric_range",
  params: {
    metric_name: series.metric,
    host_name: series.host,
    fingerprint: series.fingerprint,
    ...(series.service !== "" && { service_name: series.service }),
  },
  from_unix_ms: Math.max(0, range.startedUnixMs - EVIDENCE_BEFORE_MS),
  // Half open: the sample that decided belongs to it.
  to_unix_ms: Math.max(range.toUnixMs, range.startedUnixMs) + 1,
  summary: clip(range.summary, 1000),
});

const round = (value: number): string => String(Number(value.toPrecision(4)));
const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

const bytesText = (bytes: number): string => {
  const power = Math.min(BYTE_UNITS.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, Math.abs(bytes))) / 10)));
  return `${round(bytes / 1024 ** power)} ${BYTE_UNITS[power]}`;
};

/** A value as a person reads it, from its UCUM unit. */
export const valueText = (value: number, { metric, unit, isCounter }: Series): string => {
  const perSecond = isCounter ? "/s" : "";
  if (unit === "By") return `${bytesText(value)}${perSecond}`;
  if (unit === "1" && metric.endsWith("utilization")) return `${round(value * 100)} %`;
  const plain = unit.replaceAll(/\{[^}]*\}/g, "");
  return plain === "" || plain === "1" ? `${round(value)}${perSecond}` : `${round(value)} ${plain}${perSecond}`;
};
