/*
 * What a series counts, by Prometheus's metadata and, without it, by the naming rules
 * (https://prometheus.io/docs/practices/naming/, https://prometheus.io/docs/concepts/metric_types/).
 */

/** `MetricType` of both definitions. */
export const METRIC_TYPE = {
  unknown: 0,
  counter: 1,
  gauge: 2,
  histogram: 3,
  gaugeHistogram: 4,
  summary: 5,
  info: 6,
  stateSet: 7,
} as const;

const PARTS = ["_bucket", "_count", "_sum", "_total"] as const;

const partOf = (name: string): (typeof PARTS)[number] | undefined => PARTS.find((part) => name.endsWith(part));

/** The family's name without the part: `http_request_duration_seconds` of `http_request_duration_seconds_bucket`. */
export const familyOf = (name: string): string => name.slice(0, name.length - (partOf(name)?.length ?? 0));

/**
 * The kind of an ordinary series. A type that was told decides: counters are counters, and so are the `_bucket`, `_count` and `_sum` of
 * histograms and the `_count` and `_sum` of summaries; everything else is a gauge. Where no type was told, names that end in `_total`,
 * `_count`, `_sum` or `_bucket` are counters and all others gauges.
 */
export const kindOf = (name: string, type: number): "counter" | "gauge" => {
  const part = partOf(name);
  if (type === METRIC_TYPE.unknown) return part === undefined ? "gauge" : "counter";
  if (type === METRIC_TYPE.counter) return "counter";
  if (type === METRIC_TYPE.histogram) return part === undefined || part === "_total" ? "gauge" : "counter";
  if (type === METRIC_TYPE.summary) return part === "_count" || part === "_sum" ? "counter" : "gauge";
  return "gauge";
};

/** Prometheus's base units (https://prometheus.io/docs/practices/naming/#base-units) in UCUM, as OpenTelemetry has units. */
const UCUM: Readonly<Record<string, string>> = {
  seconds: "s",
  bytes: "By",
  ratio: "1",
  meters: "m",
  metres: "m",
  volts: "V",
  amperes: "A",
  joules: "J",
  grams: "g",
  celsius: "Cel",
  hertz: "Hz",
};

/** The unit that was told, else the one that the name ends in (before `_total` and the like), in UCUM; "" for none and for counts. */
export const unitOf = (name: string, told: string): string => {
  const part = partOf(name);
  if (part === "_bucket" || part === "_count") return "";
  if (told !== "") return Object.hasOwn(UCUM, told) ? (UCUM[told] ?? told) : told;
  const family = familyOf(name);
  const suffix = family.slice(family.lastIndexOf("_") + 1);
  return suffix !== family && Object.hasOwn(UCUM, suffix) ? (UCUM[suffix] ?? "") : "";
};
