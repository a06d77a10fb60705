import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TemplateMiner, templateText } from "@homeostat/detectors";
import type { Area } from "./area.ts";
import { csvRows } from "./csv.ts";
import { writePlot } from "./plot.ts";

const SUFFIX = ".content.csv";
const WINDOW_LINES = 100;

const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`;

interface Mined {
  readonly miner: TemplateMiner;
  /** By line: its template's place at that time. */
  readonly places: readonly number[];
  readonly templates: readonly number[];
  /** By line: 1 when its masked form was known. */
  readonly known: readonly number[];
}

/** Lines once, in their order. The template that a line was given leads to the one that it was merged into later. */
const mine = (lines: readonly string[]): Mined => {
  const miner = new TemplateMiner();
  const templates: number[] = [];
  const known: number[] = [];
  const places = lines.map((line) => {
    const misses = miner.misses;
    const place = miner.classify(Buffer.from(line));
    templates.push(miner.size);
    known.push(miner.misses === misses ? 1 : 0);
    return place;
  });
  return { miner, places, templates, known };
};

const shares = (known: readonly number[]): Float64Array =>
  Float64Array.from(known, (_, row) => {
    const window = known.slice(Math.max(0, row + 1 - WINDOW_LINES), row + 1);
    return window.reduce((sum, one) => sum + one, 0) / window.length;
  });

const plot = (file: string, name: string, { templates, known }: Mined): void =>
  writePlot(file, [
    { title: `${name}: templates`, lines: [{ label: "templates", values: templates, colour: "#0969da" }] },
    {
      title: `share of lines whose masked form was known, last ${WINDOW_LINES} lines`,
      lines: [{ label: "known", values: shares(known), colour: "#1a7f37" }],
    },
  ]);

export const area: Area = async ({ data, out, plots, say }) => {
  mkdirSync(out, { recursive: true });
  const files = readdirSync(data)
    .filter((file) => file.endsWith(SUFFIX))
    .sort();
  for (const file of files) {
    const name = file.slice(0, -SUFFIX.length);
    const [, ...rows] = csvRows(readFileSync(join(data, file), "utf8"));
    const mined = mine(rows.map(([, content = ""]) => content));
    const answers = rows.map(([lineId = ""], row) => {
      const template = mined.miner.at(mined.places[row] ?? 0);
      return `${lineId},${quoted(templateText(template))},${template.id}`;
    });
    writeFileSync(join(out, `${name}.pred.csv`), `${["LineId,EventTemplate,EventId", ...answers].join("\n")}\n`);
    if (plots !== null) plot(join(plots, `${name}.svg`), name, mined);
    say(`${name}: ${rows.length} lines, ${mined.miner.size} templates`);
  }
};
