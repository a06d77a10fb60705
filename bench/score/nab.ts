import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  ALERT_SURPRISE,
  growSeriesAnomaly,
  reasonOf,
  startSeriesAnomaly,
  stepSeriesAnomaly,
} from "@homeostat/detectors";
import { z } from "zod";
import type { Area } from "./area.ts";
import { type Span, writePlot } from "./plot.ts";

const Windows = z.record(z.string(), z.array(z.tuple([z.string(), z.string()])));

const PLOTS_PER_CATEGORY = 2;

interface Points {
  readonly stamps: readonly string[];
  readonly times: Float64Array;
  readonly values: Float64Array;
}

interface Answer {
  readonly scores: Float64Array;
  /** How rare each point is, before hold and back-off: −log10. */
  readonly surprises: Float64Array;
  readonly alerts: readonly { readonly row: number; readonly score: number; readonly reason: string }[];
}

/** Without fractions, as labels have them. */
const stampOf = (text: string): string => text.trim().replace(/\..*$/, "");

/** Times have no zone: they are taken as UTC. */
const readPoints = (file: string): Points => {
  const [header = "", ...lines] = readFileSync(file, "utf8").trim().split(/\r?\n/);
  const names = header.split(",").map((name) => name.trim());
  const rows = lines.map((line) => line.split(","));
  const column = (name: string): readonly string[] => rows.map((row) => row[names.indexOf(name)] ?? "");
  const stamps = column("timestamp").map(stampOf);
  return {
    stamps,
    times: Float64Array.from(stamps, (stamp) => Date.parse(`${stamp.replace(" ", "T")}Z`)),
    values: Float64Array.from(column("value"), (text) => (text.trim() === "" ? Number.NaN : Number(text))),
  };
};

const answerOf = ({ times, values }: Points): Answer => {
  const state = startSeriesAnomaly();
  growSeriesAnomaly(state, 1);
  const alerts: Answer["alerts"][number][] = [];
  const surprises = new Float64Array(values.length);
  const scores = values.map((value, row) => {
    const score = stepSeriesAnomaly(state, 0, times[row] ?? Number.NaN, value);
    surprises[row] = state.verdict.surprise;
    if (score > 0) {
      const reason = reasonOf(state.verdict, value, (number) => String(Number(number.toPrecision(4))));
      alerts.push({ row, score, reason });
    }
    return score;
  });
  return { scores, surprises, alerts };
};

const plot = (
  file: string,
  name: string,
  points: Points,
  answer: Answer,
  labels: readonly [string, string][],
): void => {
  const windows = labels.map(([from, to]): Span => {
    const first = points.stamps.indexOf(stampOf(from));
    return { first, last: points.stamps.indexOf(stampOf(to), first) };
  });
  const [loudest] = answer.alerts.toSorted((a, b) => b.score - a.score);
  // Wide enough to be seen.
  const width = Math.ceil(points.values.length / 400);
  const alerts = answer.alerts.map(({ row }): Span => ({ first: row, last: row + width }));
  writePlot(file, [
    {
      title: loudest === undefined ? name : `${name}: at row ${loudest.row} ${loudest.reason}`,
      lines: [{ label: "value", values: points.values, colour: "#0969da" }],
      spans: [
        { label: "labelled", colour: "#2da44e", at: windows },
        { label: "alert", colour: "#cf222e", at: alerts },
      ],
    },
    {
      title: "how rare, −log10",
      lines: [{ label: "surprise", values: answer.surprises, colour: "#8250df" }],
      spans: [{ label: "labelled", colour: "#2da44e", at: windows }],
      levels: [{ label: "alert", value: ALERT_SURPRISE }],
    },
  ]);
};

/** Every series by itself, a point at a time; a file's score is what the platform's detector would have said at that point. */
export const area: Area = async ({ data, out, plots, say }) => {
  const folder = join(data, "data");
  const labelFile = join(data, "windows.json");
  const labels = existsSync(labelFile) ? Windows.parse(JSON.parse(readFileSync(labelFile, "utf8"))) : {};
  const categories = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const { name: category } of categories) {
    const files = readdirSync(join(folder, category)).filter((file) => file.endsWith(".csv"));
    for (const [index, file] of files.toSorted().entries()) {
      const points = readPoints(join(folder, category, file));
      const answer = answerOf(points);
      const target = join(out, category, file);
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, `anomaly_score\n${[...answer.scores].map((score) => score.toFixed(6)).join("\n")}\n`);
      if (plots === null || index >= PLOTS_PER_CATEGORY) continue;
      const name = `${category}/${file}`;
      plot(join(plots, `${category}_${file}`.replace(/csv$/, "svg")), name, points, answer, labels[name] ?? []);
    }
    say(`${category}: ${files.length} files`);
  }
};
