import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import type { Area } from "./area.ts";

/** One figure of a scorer's last line, what the best reference reaches by the same scorer on the same data, and which way is better. */
interface Figure {
  readonly name: string;
  readonly key: string;
  readonly reference: string;
}

interface Measured {
  readonly title: string;
  readonly area: () => Promise<{ readonly area: Area }>;
  readonly folder: string;
  /** The name of the answer at `--out`. */
  readonly answer: string;
  readonly scorer: (paths: { data: string; answer: string }) => readonly string[];
  readonly figures: readonly Figure[];
}

/** The references ran with their own code and published settings; log parsers with expressions per system, anomaly detectors with the best threshold found afterwards. */
const MEASURED: readonly Measured[] = [
  {
    title: "Log templates (Loghub 2k, 8 systems, macro average)",
    area: () => import("./logs.ts"),
    folder: "logs",
    answer: "logs",
    scorer: ({ data, answer }) => ["score_logs.py", "--dir", join(data, "truth"), answer],
    figures: [
      { name: "grouping accuracy GA", key: "GA", reference: "0.959 (Brain)" },
      { name: "grouping F1 FGA", key: "FGA", reference: "0.941 (Brain)" },
      { name: "parsing accuracy PA", key: "PA", reference: "0.673 (PIPLUP)" },
      { name: "template F1 FTA", key: "FTA", reference: "0.635 (PIPLUP)" },
    ],
  },
  {
    title: "Anomalies of one series (Numenta Anomaly Benchmark, 29 files, one threshold)",
    area: () => import("./nab.ts"),
    folder: "nab",
    answer: "nab",
    scorer: ({ data, answer }) => ["score_nab.py", data, answer],
    figures: [
      { name: "standard", key: "standard", reference: "76.1 (ARTime)" },
      { name: "low false positives", key: "low_fp", reference: "66.6 (Numenta HTM)" },
      { name: "low false negatives", key: "low_fn", reference: "81.7 (ARTime)" },
    ],
  },
  ...(["smd", "asd"] as const).map(
    (set): Measured => ({
      title: `Anomalies of a host's metrics together (${set.toUpperCase()}), our own alerts`,
      area: () => import("./ad.ts"),
      folder: "ad",
      answer: "ad",
      scorer: ({ data, answer }) => ["score_ad.py", data, answer, "--set", set],
      figures: [
        {
          name: "VUS-PR",
          key: "vus_pr",
          reference: set === "smd" ? "0.481 (PCA, offline)" : "0.428 (KMeansAD, offline)",
        },
        {
          name: "event F1",
          key: "ev_f1",
          reference: set === "smd" ? "0.482 (PCA, best threshold)" : "0.344 (KMeansAD, best threshold)",
        },
        { name: "median delay, rows", key: "delay_rows", reference: "" },
        {
          name: "false alert runs per 1,000 rows",
          key: "fa_per_1k",
          reference: set === "smd" ? "0.33 (KMeansAD)" : "1.3 (KMeansAD)",
        },
      ],
    }),
  ),
  {
    title: "Root causes (PetShop, Nezha; macro average over the sets)",
    area: () => import("./rca.ts"),
    folder: "rca",
    answer: "rca.ndjson",
    scorer: ({ data, answer }) => ["score_rca.py", join(data, "truth.json"), answer],
    figures: [
      { name: "AC@1", key: "ac1", reference: "0.303 (N-sigma, metrics only)" },
      { name: "AC@3", key: "ac3", reference: "0.465 (N-sigma, metrics only)" },
      { name: "Avg@5", key: "avg5", reference: "0.454 (N-sigma, metrics only)" },
    ],
  },
  {
    title: "Forecasts (M4 hourly and weekly, NN5 daily, M3 monthly and other, SMD hourly; mean of the sets)",
    area: () => import("./forecast.ts"),
    folder: "forecast",
    answer: "forecast.ndjson",
    scorer: ({ data, answer }) => [
      "score_forecast.py",
      join(data, "train.ndjson.gz"),
      join(data, "truth.ndjson.gz"),
      answer,
    ],
    figures: [
      {
        name: "OWA (1 is Naive 2; lower is better)",
        key: "owa",
        reference: "0.740 (median of Theta, ETS, MSTL, seasonal naive)",
      },
      { name: "share inside the 80 % interval", key: "cov80", reference: "0.81" },
      { name: "share inside the 95 % interval", key: "cov95", reference: "0.93" },
      { name: "limit alarms, F1", key: "f1", reference: "0.505 (MSTL with ETS)" },
    ],
  },
];

const execute = promisify(execFile);

const figuresOf = (printed: string): ReadonlyMap<string, string> =>
  new Map(Array.from(printed.matchAll(/(\w+)=(-?[0-9.]+|nan)/g), ([, key = "", value = ""]) => [key, value] as const));

export interface TableSetting {
  /** The folder with one folder for each area. */
  readonly data: string;
  /** The folder of the scorers. */
  readonly scorers: string;
  /** A Python 3 with numpy. */
  readonly python: string;
  readonly out: string;
  readonly say: (line: string) => void;
}

/** Runs every area, has the scorers judge it, and writes what they say as a table. */
export const writeTable = async ({ data, scorers, python, out, say }: TableSetting): Promise<void> => {
  const dir = mkdtempSync(join(tmpdir(), "homeostat-score-"));
  const done = new Set<string>();
  const sections: string[] = [];
  try {
    for (const { title, area, folder, answer, scorer, figures } of MEASURED) {
      const paths = { data: join(data, folder), answer: join(dir, answer) };
      if (!done.has(answer)) await (await area()).area({ data: paths.data, out: paths.answer, plots: null, say });
      done.add(answer);
      const [script = "", ...rest] = scorer(paths);
      const { stdout } = await execute(python, [join(scorers, script), ...rest], { maxBuffer: 1 << 24 });
      const found = figuresOf(stdout);
      const rows = figures.map(({ name, key, reference }) => {
        const value = found.get(key);
        if (value === undefined) throw new Error(`${script} printed no ${key}: ${stdout.slice(-500)}`);
        return `| ${name} | ${value} | ${reference} |`;
      });
      sections.push(`## ${title}\n\n| figure | Homeostat | best reference |\n|---|---|---|\n${rows.join("\n")}`);
      say(`${title}: ${rows.length} figures`);
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  const head = [
    "# How accurate the detectors are",
    "",
    "Written by `npm run score -- table --data DIR --scorers DIR --out docs/reference/accuracy.md`. Homeostat ran with one configuration for",
    "all data, streaming, as the platform runs it. The references ran with their own code and published settings, judged by the same",
    "scorers on the same data, and with help that a product does not have: log parsers had expressions chosen for each system, anomaly",
    "detectors saw whole files and the best threshold found afterwards. Our detectors were developed while looking at these very files,",
    "which is a help too: expect less on others.",
  ].join("\n");
  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(out, `${head}\n\n${sections.join("\n\n")}\n`);
};
