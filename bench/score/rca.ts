import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import {
  type CauseRanking,
  type IncidentEvidence,
  type LogLine,
  type MetricSeries,
  type RankedService,
  rankCauses,
  type Span,
} from "@homeostat/detectors";
import { z } from "zod";
import type { Area } from "./area.ts";
import { csvRows } from "./csv.ts";
import { type Panel, writePlot } from "./plot.ts";

const Edges = z.array(z.tuple([z.string(), z.string()]));

/** Paths are relative to the case's folder. */
const CaseFile = z.object({
  detected_at: z.number(),
  normal: z.string(),
  fault: z.string(),
  services: z.array(z.string()),
  graph: z.string().nullish(),
  graph_edges: Edges.nullish(),
  traces: z.string().nullish(),
  logs: z.string().nullish(),
  normal_traces: z.string().nullish(),
  normal_logs: z.string().nullish(),
  violated: z.string().nullish(),
});
type CaseFile = z.infer<typeof CaseFile>;

interface Case {
  readonly services: readonly string[];
  readonly evidence: IncidentEvidence;
}

const PLOTS_PER_SET = 3;
const PLOTTED_SERVICES = 3;
const TITLE_MAX = 150;
/** Of the normal time, the last so many values: the window is short beside it. */
const PLOTTED_NORMAL_VALUES = 40;

const bodyOf = (file: string): string[][] => csvRows(gunzipSync(readFileSync(file)).toString("utf8")).slice(1);

/** By column; an empty field is NaN. */
const readTable = (file: string): ReadonlyMap<string, Float64Array> => {
  const [names = [], ...rows] = csvRows(gunzipSync(readFileSync(file)).toString("utf8"));
  const valueAt = (row: readonly string[], at: number): number => (row[at] ? Number(row[at]) : Number.NaN);
  return new Map(names.map((name, at) => [name, Float64Array.from(rows, (row) => valueAt(row, at))]));
};

const readSpans = (file: string): readonly Span[] =>
  bodyOf(file).map(([traceId = "", spanId = "", parent = "", service = "", operation = "", start, duration]) => ({
    traceId,
    spanId,
    parentSpanId: parent === "0" ? "" : parent,
    service,
    operation,
    startUnixUs: Number(start),
    durationUs: Number(duration),
  }));

const readLogs = (file: string): readonly LogLine[] =>
  bodyOf(file).map(([time, service = "", traceId = "", message = ""]) => ({
    timeUnixUs: Number(time),
    service,
    traceId,
    message,
  }));

/** `service|kind`; a service's name may hold the bar too. */
const splitColumn = (column: string): { readonly service: string; readonly kind: string } => {
  const at = column.lastIndexOf("|");
  return { service: column.slice(0, at), kind: column.slice(at + 1) };
};

/** Columns of what is none of the case's services (an entry's totals) are no candidates. */
const seriesOf = (dir: string, file: CaseFile): readonly MetricSeries[] => {
  const fault = readTable(join(dir, file.fault));
  const normal = readTable(join(dir, file.normal));
  const timesUnixMs = (fault.get("time") ?? new Float64Array()).map((seconds) => seconds * 1000);
  const services = new Set(file.services);
  return [...fault].flatMap(([column, values]) => {
    const { service, kind } = splitColumn(column);
    if (!services.has(service)) return [];
    return [{ service, kind, timesUnixMs, values, normalValues: normal.get(column) ?? new Float64Array() }];
  });
};

const readCase = (dir: string): Case => {
  const file = CaseFile.parse(JSON.parse(readFileSync(join(dir, "case.json"), "utf8")));
  const spansOf = (path: string | null | undefined) => (path ? readSpans(join(dir, path)) : []);
  const logsOf = (path: string | null | undefined) => (path ? readLogs(join(dir, path)) : []);
  const graph = file.graph
    ? Edges.parse(JSON.parse(readFileSync(join(dir, file.graph), "utf8")))
    : (file.graph_edges ?? []);
  return {
    services: file.services,
    evidence: {
      detectedAtUnixMs: file.detected_at * 1000,
      metrics: seriesOf(dir, file),
      graph,
      ...(file.violated ? { symptom: splitColumn(file.violated) } : {}),
      spans: spansOf(file.traces),
      logs: logsOf(file.logs),
      normalSpans: spansOf(file.normal_traces),
      normalLogs: logsOf(file.normal_logs),
    },
  };
};

/** A service's most telling metric; null for one that has none. */
const panelOf = ({ evidence }: Case, { services, metrics }: CauseRanking, service: RankedService): Panel | null => {
  const telling = metrics.find((metric) => metric.service === service.name);
  const series = evidence.metrics.find((one) => one.service === service.name && one.kind === telling?.kind);
  if (series === undefined) return null;
  const normal = Array.from(series.normalValues).slice(-PLOTTED_NORMAL_VALUES);
  const values = [...normal, ...Array.from(series.values)];
  const times = Array.from(series.timesUnixMs);
  const since = times.findIndex((time) => time >= evidence.detectedAtUnixMs);
  const reason = service.whyNot ?? service.reasons[0] ?? "";
  return {
    title: `${services.indexOf(service) + 1}. ${service.name} (${service.score.toFixed(2)}) ${reason}`.slice(
      0,
      TITLE_MAX,
    ),
    lines: [{ label: series.kind, values, colour: "#0969da" }],
    spans: [
      { label: "window", colour: "#d4a72c", at: [{ first: normal.length, last: values.length - 1 }] },
      {
        label: "since the detection",
        colour: "#cf222e",
        at: since < 0 ? [] : [{ first: normal.length + since, last: values.length - 1 }],
      },
    ],
  };
};

const plot = (file: string, one: Case, ranking: CauseRanking): void => {
  const services = ranking.services.filter(({ name }) => one.services.includes(name)).slice(0, PLOTTED_SERVICES);
  const panels = services.flatMap((service) => panelOf(one, ranking, service) ?? []);
  if (panels.length > 0) writePlot(file, panels);
};

const foldersIn = (dir: string): readonly string[] =>
  readdirSync(dir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort();

export const area: Area = async ({ data, out, plots, say }) => {
  const answers: string[] = [];
  for (const set of foldersIn(data)) {
    const folders = foldersIn(join(data, set));
    for (const [at, folder] of folders.entries()) {
      const one = readCase(join(data, set, folder));
      const ranking = rankCauses(one.evidence);
      const isCandidate = ({ name }: RankedService): boolean => one.services.includes(name);
      const metrics = ranking.metrics.map(({ service, kind }) => `${service}|${kind}`);
      answers.push(
        JSON.stringify({
          case: `${set}/${folder}`,
          services: ranking.services.filter(isCandidate).map(({ name }) => name),
          metrics,
        }),
      );
      if (plots !== null && at < PLOTS_PER_SET) plot(join(plots, `${set}-${folder}.svg`), one, ranking);
      say(`${set}/${folder}: ${ranking.explanation}`);
    }
  }
  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(out, `${answers.join("\n")}\n`);
};
