import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { judgeRow, makeHostJudge, topMetrics } from "@homeostat/detectors";
import { z } from "zod";
import type { Area, AreaSetting } from "./area.ts";
import { type Span, writePlot } from "./plot.ts";

/** The detector's own default. */
const LEVEL = 1.2;

/** A data set that says nothing of its step has one of a minute, as the detector has by default. */
const STEP_S = 60;

/** Metrics named for an alert. */
const TOP = 5;

const PLOTTED_SERIES = 6;
const PLOTTED_METRICS = 4;

/** Beyond the values only the step is told to the detector: it stands for the rows' timestamps. */
const Label = z.object({
  step_s: z.number().positive().optional(),
  events: z.array(z.tuple([z.int(), z.int()])).default([]),
  event_metrics: z.array(z.tuple([z.int(), z.int(), z.array(z.string())])).default([]),
});
type Label = z.infer<typeof Label>;

interface Table {
  readonly metrics: readonly string[];
  readonly rows: number;
  /** Row after row. */
  readonly values: Float64Array;
}

/** The first column is the row's number. */
const readTable = (file: string): Table => {
  const lines = gunzipSync(readFileSync(file)).toString("utf8").trimEnd().split("\n");
  const [, ...metrics] = (lines[0] ?? "").trim().split(",");
  const values = new Float64Array((lines.length - 1) * metrics.length).fill(Number.NaN);
  for (let row = 0; row + 1 < lines.length; row++) {
    const cells = (lines[row + 1] ?? "").trim().split(",");
    for (let metric = 0; metric < metrics.length; metric++) {
      const cell = cells[metric + 1] ?? "";
      if (cell !== "") values[row * metrics.length + metric] = Number(cell);
    }
  }
  return { metrics, rows: lines.length - 1, values };
};

interface Answer {
  readonly scores: Float64Array;
  readonly alerts: Uint8Array;
  /** By metric, over the rows with an alert. */
  readonly shares: Float64Array;
  /** At each event's first row with an alert, the metrics that made it. */
  readonly named: ReadonlyMap<number, readonly string[]>;
}

const judge = ({ metrics, rows, values }: Table, { step_s = STEP_S, events }: Label): Answer => {
  const host = makeHostJudge(metrics.length);
  const scores = new Float64Array(rows);
  const alerts = new Uint8Array(rows);
  const shares = new Float64Array(metrics.length);
  const named = new Map<number, readonly string[]>();
  for (let row = 0; row < rows; row++) {
    const timeUnixMs = row * step_s * 1000;
    const judged = judgeRow(
      host,
      { timeUnixMs, values: values.subarray(row * metrics.length, (row + 1) * metrics.length) },
      LEVEL,
    );
    scores[row] = judged?.score ?? 0;
    if (judged?.isAlert !== true) continue;
    alerts[row] = 1;
    const top = topMetrics(host, metrics.length);
    for (const { metric, share } of top) shares[metric] = (shares[metric] ?? 0) + share;
    const event = events.findIndex(([first, last]) => first <= row && row <= last);
    if (event >= 0 && !named.has(event))
      named.set(
        event,
        top.slice(0, TOP).map(({ metric }) => metrics[metric] ?? ""),
      );
  }
  return { scores, alerts, shares, named };
};

const spansOf = (alerts: Uint8Array): readonly Span[] => {
  const spans: Span[] = [];
  for (let row = 0; row < alerts.length; row++) {
    if (alerts[row] !== 1) continue;
    const first = row;
    while (alerts[row + 1] === 1) row++;
    spans.push({ first, last: row });
  }
  return spans;
};

const plot = (file: string, table: Table, label: Label, { scores, alerts, shares }: Answer): void => {
  const spans = [
    { label: "event", colour: "#d4a72c", at: label.events.map(([first, last]) => ({ first, last })) },
    { label: "alert", colour: "#cf222e", at: spansOf(alerts) },
  ];
  const order = Array.from(shares.keys()).sort((a, b) => (shares[b] ?? 0) - (shares[a] ?? 0));
  const panels = order.slice(0, PLOTTED_METRICS).map((metric) => {
    const name = table.metrics[metric] ?? "";
    const values = Float64Array.from(
      { length: table.rows },
      (_, row) => table.values[row * table.metrics.length + metric] ?? Number.NaN,
    );
    return { title: name, lines: [{ label: name, values, colour: "#0969da" }], spans };
  });
  writePlot(file, [
    ...panels,
    {
      title: "score",
      lines: [{ label: "score", values: scores, colour: "#1f2328" }],
      spans,
      levels: [{ label: "least level of an alert", value: LEVEL }],
    },
  ]);
};

/** Of the metrics named when an alert met an event, the share that the label names too. */
const namedRight = (label: Label, named: Answer["named"]): readonly number[] =>
  label.event_metrics.flatMap(([start, , expected]) => {
    const names = named.get(label.events.findIndex(([first]) => first === start)) ?? [];
    return names.length === 0 ? [] : [names.filter((name) => expected.includes(name)).length / names.length];
  });

const readLabels = (data: string): ReadonlyMap<string, Label> => {
  const file = join(data, "labels.json");
  if (!existsSync(file)) return new Map();
  return new Map(Object.entries(z.record(z.string(), Label).parse(JSON.parse(readFileSync(file, "utf8")))));
};

const seriesIn = (data: string): readonly string[] =>
  readdirSync(join(data, "data"), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".csv.gz"))
    .map((path) => path.slice(0, -".csv.gz".length))
    .sort();

export const area: Area = async ({ data, out, plots, say }: AreaSetting) => {
  const labels = readLabels(data);
  const right: number[] = [];
  let cpuMicros = 0;
  let points = 0;
  const series = seriesIn(data);
  // Spread over the sets, not the first ones of the alphabet.
  const plotted = new Set(series.filter((_, index) => index % Math.ceil(series.length / PLOTTED_SERIES) === 0));
  for (const name of series) {
    const table = readTable(join(data, "data", `${name}.csv.gz`));
    const label = labels.get(name) ?? Label.parse({});
    const before = process.cpuUsage();
    const answer = judge(table, label);
    const { user, system } = process.cpuUsage(before);
    cpuMicros += user + system;
    points += table.values.length;
    right.push(...namedRight(label, answer.named));
    const file = join(out, `${name}.csv`);
    mkdirSync(dirname(file), { recursive: true });
    const lines = Array.from(answer.scores, (score, row) => `${score},${answer.alerts[row]}`);
    writeFileSync(file, `anomaly_score,alert\n${lines.join("\n")}\n`);
    if (plots !== null && plotted.has(name)) plot(join(plots, `${name}.svg`), table, label, answer);
  }
  const seconds = cpuMicros / 1e6;
  say(`ad: ${series.length} series, ${points} points, ${Math.round(points / seconds)} points per CPU-second`);
  if (right.length > 0) {
    const mean = right.reduce((sum, share) => sum + share, 0) / right.length;
    say(
      `ad: of the ${TOP} metrics named at an event, ${(mean * 100).toFixed(0)} % are labelled (${right.length} events)`,
    );
  }
};
