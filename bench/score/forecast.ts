import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { CROSSING_PROBABILITY_WARN, type Forecast, forecast } from "@homeostat/detectors";
import { z } from "zod";
import type { Area } from "./area.ts";
import { writePlot } from "./plot.ts";

const Given = z.object({
  id: z.string(),
  set: z.string(),
  /** The season of the naive method that errors are compared with. */
  m: z.int(),
  m_all: z.array(z.int()),
  h: z.int(),
  train: z.array(z.number().nullable()),
  limit: z.number().optional(),
});
type Given = z.infer<typeof Given>;

const Truth = z.object({ id: z.string(), test: z.array(z.number().nullable()) });

const PLOTS_PER_SET = 4;
/** Rows before the forecast that a plot shows, in horizons. */
const TAIL_HORIZONS = 5;

const readLines = (file: string): readonly unknown[] =>
  gunzipSync(readFileSync(file))
    .toString("utf8")
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line): unknown => JSON.parse(line));

const valuesOf = (values: readonly (number | null)[]): Float64Array =>
  Float64Array.from(values, (value) => value ?? Number.NaN);

const answerOf = (given: Given): Forecast =>
  forecast(valuesOf(given.train), {
    seasons: [...given.m_all, given.m],
    horizon: given.h,
    ...(given.limit !== undefined && { limit: given.limit }),
  });

/** The scorer wants an answer for every series: where there is too little to go by, the last value stands. */
const lineOf = ({ id, h, train, limit }: Given, answer: Forecast): object => {
  if (answer.state === "insufficient_data") return { id, mean: Array<number>(h).fill(train.at(-1) ?? 0) };
  const { mean, lo80, hi80, lo95, hi95, crossing } = answer;
  const isWarned = crossing !== null && crossing.probability >= CROSSING_PROBABILITY_WARN;
  return {
    id,
    mean: [...mean],
    lo80: [...lo80],
    hi80: [...hi80],
    lo95: [...lo95],
    hi95: [...hi95],
    ...(limit !== undefined && { cross: isWarned ? crossing.step : null }),
  };
};

const plot = (file: string, given: Given, answer: Forecast, truth: readonly (number | null)[] | undefined): void => {
  if (answer.state === "insufficient_data") return;
  const tail = valuesOf(given.train).slice(-TAIL_HORIZONS * given.h);
  const from = tail.length;
  const { mean, lo80, hi80, lo95, hi95, crossing, backtest } = answer;
  const odds = crossing === null ? "" : `, limit reached with probability ${crossing.probability.toFixed(2)}`;
  writePlot(file, [
    {
      title: `${given.id}: back-test sMAPE ${backtest.smape.toFixed(1)}${odds}`,
      lines: [
        { label: "known", values: tail, colour: "#1f2328" },
        ...(truth === undefined ? [] : [{ label: "came", values: valuesOf(truth), from, colour: "#8c959f" }]),
        { label: "forecast", values: mean, from, colour: "#0969da" },
      ],
      bands: [
        { label: "95 %", low: lo95, high: hi95, from, colour: "#54aeff" },
        { label: "80 %", low: lo80, high: hi80, from, colour: "#0969da" },
      ],
      levels: given.limit === undefined ? [] : [{ label: "limit", value: given.limit }],
    },
  ]);
};

export const area: Area = async ({ data, out, plots, say }) => {
  const series = readLines(join(data, "train.ndjson.gz")).map((line) => Given.parse(line));
  const truthFile = join(data, "truth.ndjson.gz");
  const truths = new Map(
    plots !== null && existsSync(truthFile)
      ? readLines(truthFile).map((line) => {
          const { id, test } = Truth.parse(line);
          return [id, test] as const;
        })
      : [],
  );
  const plotted = new Map<string, number>();
  const lines: string[] = [];
  for (const given of series) {
    const answer = answerOf(given);
    lines.push(JSON.stringify(lineOf(given, answer)));
    const drawn = plotted.get(given.set) ?? 0;
    if (plots === null || drawn >= PLOTS_PER_SET) continue;
    plotted.set(given.set, drawn + 1);
    plot(join(plots, `${given.set}-${drawn + 1}.svg`), given, answer, truths.get(given.id));
  }
  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(out, `${lines.join("\n")}\n`);
  say(`${series.length} series forecast`);
};
