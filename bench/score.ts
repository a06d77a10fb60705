import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Area } from "./score/area.ts";
import { writeTable } from "./score/table.ts";

interface Entry {
  readonly summary: string;
  /** What stands at `--out`. */
  readonly writes: string;
  readonly load: () => Promise<{ readonly area: Area }>;
}

/** The product's own detectors over labelled data, their answers written in the forms that the scorers read. */
const AREAS: Readonly<Record<string, Entry>> = {
  logs: {
    summary: "log templates: <System>.content.csv",
    writes: "a folder of <System>.pred.csv",
    load: () => import("./score/logs.ts"),
  },
  nab: {
    summary: "anomalies of one series: data/<category>/<file>.csv",
    writes: "a folder of <category>/<file>.csv",
    load: () => import("./score/nab.ts"),
  },
  ad: {
    summary: "anomalies of a host's metrics together: data/<set>/<series>.csv.gz",
    writes: "a folder of <set>/<series>.csv",
    load: () => import("./score/ad.ts"),
  },
  rca: {
    summary: "root causes: <dataset>/<case>/case.json",
    writes: "one NDJSON file",
    load: () => import("./score/rca.ts"),
  },
  forecast: {
    summary: "forecasts: train.ndjson.gz",
    writes: "one NDJSON file",
    load: () => import("./score/forecast.ts"),
  },
};

const help = (): string => {
  const lines = Object.entries(AREAS).map(
    ([name, { summary, writes }]) => `  ${name.padEnd(9)} ${summary}\n            writes ${writes}`,
  );
  return `npm run score -- <area> --data DIR --out PATH [--plots DIR]\n\n${lines.join("\n")}\n\nDIR is the area's folder, or the one above it. --plots writes a picture (SVG) of a handful of cases.

npm run score -- table --data DIR --scorers DIR --out FILE [--python PATH]

  every area of DIR, judged by the scorers, as one table in Markdown\n`;
};

const fail = (message: string): void => {
  process.stderr.write(`${message}\n\n${help()}`);
  process.exitCode = 2;
};

const isFolder = (path: string): boolean => existsSync(path) && statSync(path).isDirectory();

const main = async (): Promise<void> => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      data: { type: "string" },
      out: { type: "string" },
      plots: { type: "string" },
      scorers: { type: "string" },
      python: { type: "string", default: "python3" },
      help: { type: "boolean", short: "h" },
    },
  });
  const [name, ...rest] = positionals;
  if (values.help === true || name === undefined) {
    process.stdout.write(help());
    return;
  }
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const entry = Object.hasOwn(AREAS, name) ? AREAS[name] : undefined;
  if (entry === undefined && name !== "table") return fail(`There is no area ${name}.`);
  if (rest.length > 0) return fail(`Unexpected: ${rest.join(" ")}`);
  const { data, out, plots, scorers, python } = values;
  if (data === undefined || out === undefined) return fail("--data and --out are needed.");
  if (!isFolder(data)) return fail(`--data ${data} is not a folder.`);
  if (entry === undefined) {
    if (scorers === undefined || !isFolder(scorers)) return fail("--scorers DIR is needed.");
    return writeTable({ data, scorers, python, out, say });
  }
  const own = join(data, name);
  const { area } = await entry.load();
  await area({
    data: isFolder(own) ? own : data,
    out,
    plots: plots ?? null,
    say,
  });
};

await main();
