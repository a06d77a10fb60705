/**
 * Draws what a drill printed as a picture of a terminal:
 *   NO_COLOR=1 npm run --silent drill -- service-crash | node docs/draw-drill.ts > docs/images/drill.svg
 * Only the chain is drawn; the report that follows it is a page of its own.
 */
import { text } from "node:stream/consumers";

const COLUMNS = 118;
const LINE_HEIGHT = 20;
const CHARACTER_WIDTH = 7.8;
const PADDING = 18;

const escapeXml = (raw: string): string => raw.replace(/[<>&"]/g, (character) => `&#${character.charCodeAt(0)};`);

const clip = (line: string): string => (line.length <= COLUMNS ? line : `${line.slice(0, COLUMNS - 1)}…`);

const colourOf = (line: string): string => {
  if (/^\s+\+\S+ s\s+injected/.test(line)) return "#ff7b72";
  if (/^\s+\+\S+ s\s+(verified|resolved)/.test(line) || line === "healed") return "#7ee787";
  return /^\s+\+/.test(line) ? "#d2a8ff" : "#c9d1d9";
};

const printed = (await text(process.stdin)).split("\n");
const chainEnd = printed.findIndex((line) => line.startsWith("#"));
const chain = printed.slice(0, chainEnd < 0 ? undefined : chainEnd).filter((line) => line.trim() !== "");
const lines = ["$ npm run drill -- service-crash", ...chain, ...printed.filter((line) => line === "healed")];
const width = Math.round(COLUMNS * CHARACTER_WIDTH + 2 * PADDING);
const height = lines.length * LINE_HEIGHT + 2 * PADDING;
const rows = lines.map(
  (line, row) =>
    `<text x="${PADDING}" y="${PADDING + (row + 1) * LINE_HEIGHT - 6}" fill="${colourOf(line)}" xml:space="preserve">${escapeXml(clip(line))}</text>`,
);

process.stdout.write(
  `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="A drill: a service is killed, and healed">
<rect width="${width}" height="${height}" rx="10" fill="#0d1117"/>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="13">
${rows.join("\n")}
</g>
</svg>
`,
);
