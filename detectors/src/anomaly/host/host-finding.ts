import type { Finding, Severity } from "@homeostat/schemas";
import { clip, findingId } from "../../episode.ts";
import { metricEvidence, type Series, valueText } from "../../series.ts";
import { type HostJudge, type Judgement, topMetrics } from "./host-judge.ts";
import { usualRange } from "./host-score.ts";

/** Series that are named in the sentence, and shown as evidence. */
const NAMED = 5;

/** A series whose evidence is at least this is far from usual. */
const FAR = 1;

export interface UnusualHost {
  readonly host: string;
  readonly judge: HostJudge;
  /** By metric of the judge. */
  readonly series: readonly Series[];
  readonly values: Float64Array;
  readonly judgement: Judgement;
  /** Of the row. */
  readonly endUnixMs: number;
  readonly nowUnixMs: number;
}

/** What tells a host's series of one metric apart, such as a state or a device. */
const seriesName = ({ metric, labels, host, service }: Series): string => {
  const own = Object.entries(labels).filter(
    ([name, value]) => name !== "host.name" && value !== host && value !== service,
  );
  return own.length === 0
    ? metric
    : `${metric} (${own
        .slice(0, 2)
        .map(([, value]) => value)
        .join(", ")})`;
};

const clause = ({ judge, series, values }: UnusualHost, metric: number): string => {
  const of = series[metric] as Series;
  const usual = usualRange(judge.model, metric, judge.model.timeUnixMs);
  const text = `${seriesName(of)} is ${valueText(values[metric] as number, of)}`;
  if (Number.isNaN(usual.low)) return text;
  return `${text}, usually ${valueText(usual.low, of)} to ${valueText(usual.high, of)}`;
};

export const findingOf = (
  unusual: UnusualHost,
  config: {
    readonly name: string;
    readonly title: string;
    readonly severity: Severity;
    readonly category: Finding["category"];
  },
): Finding => {
  const { host, judge, series, judgement, endUnixMs, nowUnixMs } = unusual;
  const { startedUnixMs } = judge.alert;
  const entity = { host: host.slice(0, 255) };
  const top = topMetrics(judge, NAMED);
  const far = judge.model.evidence.filter((evidence) => evidence >= FAR).length;
  const clauses = top.map(({ metric }) => clause(unusual, metric));
  const names = top.map(({ metric }) => seriesName(series[metric] as Series));
  return {
    finding_id: findingId({ rule: config.name, entity, subject: "host", startedUnixMs }),
    detector: "host_anomaly",
    rule: config.name,
    state: "firing",
    severity: config.severity,
    category: config.category,
    entity,
    started_at_unix_ms: startedUnixMs,
    detected_at_unix_ms: nowUnixMs,
    value: judgement.score,
    unit: "",
    expected: { low: null, high: judgement.level },
    summary: clip(
      `${config.title} on ${host}: ${far} of ${series.length} series are far from usual. ${clauses.join("; ")}.`,
      1000,
    ),
    labels: { metrics: clip(names.join(", "), 1000) },
    evidence: top.map(({ metric, share }) =>
      metricEvidence(series[metric] as Series, {
        startedUnixMs,
        toUnixMs: endUnixMs,
        summary: `${Math.round(share * 100)} % of the score`,
      }),
    ),
  };
};
