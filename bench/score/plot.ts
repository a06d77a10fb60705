import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** Rows from `first` to `last`, both of them in it. */
export interface Span {
  readonly first: number;
  readonly last: number;
}

/** A line over rows; what is not finite leaves a gap. `from` is the row of the first value. */
export interface Line {
  readonly label: string;
  readonly values: ArrayLike<number>;
  readonly from?: number;
  readonly colour: string;
}

/** An area between two lines. */
export interface Band {
  readonly label: string;
  readonly low: ArrayLike<number>;
  readonly high: ArrayLike<number>;
  readonly from?: number;
  readonly colour: string;
}

/** One picture above another; all share the horizontal axis, which counts rows. */
export interface Panel {
  readonly title: string;
  readonly lines: readonly Line[];
  readonly bands?: readonly Band[];
  /** Coloured stripes from top to bottom: true events, alerts. */
  readonly spans?: readonly { readonly label: string; readonly colour: string; readonly at: readonly Span[] }[];
  /** Horizontal lines: a limit, a threshold. */
  readonly levels?: readonly { readonly label: string; readonly value: number }[];
}

const WIDTH = 1200;
const PANEL_HEIGHT = 220;
const LEFT = 70;
const RIGHT = 16;
const TOP = 34;
const BOTTOM = 22;
const INNER_WIDTH = WIDTH - LEFT - RIGHT;
const INNER_HEIGHT = PANEL_HEIGHT - TOP - BOTTOM;

const escapeXml = (raw: string): string => raw.replace(/[<>&"]/g, (character) => `&#${character.charCodeAt(0)};`);
const number = (value: number): string => String(Number(value.toFixed(1)));
const label = (value: number): string => String(Number(value.toPrecision(4)));

const finite = (values: ArrayLike<number>): number[] => Array.from(values).filter((value) => Number.isFinite(value));

const extent = ({ lines, bands = [], levels = [] }: Panel): readonly [number, number] => {
  const all = [
    ...lines.map(({ values }) => finite(values)),
    ...bands.flatMap(({ low, high }) => [finite(low), finite(high)]),
    levels.map(({ value }) => value),
  ].flat();
  const low = all.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY);
  const high = all.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  if (low > high) return [0, 1];
  const pad = low === high ? Math.abs(low) * 0.1 || 1 : (high - low) * 0.04;
  return [low - pad, high + pad];
};

/** More rows than pixels: of each pixel's rows the least and the greatest are drawn, so that no spike is lost. */
const drawn = (values: ArrayLike<number>, perPixel: number): readonly number[] => {
  const indexes: number[] = [];
  const step = Math.max(1, Math.floor(perPixel));
  for (let start = 0; start < values.length; start += step) {
    let least = start;
    let most = start;
    for (let at = start; at < Math.min(start + step, values.length); at++) {
      if ((values[at] ?? 0) < (values[least] ?? 0)) least = at;
      if ((values[at] ?? 0) > (values[most] ?? 0)) most = at;
    }
    indexes.push(Math.min(least, most));
    if (least !== most) indexes.push(Math.max(least, most));
  }
  return indexes;
};

const drawPanel = (panel: Panel, top: number, rows: number): string => {
  const [low, high] = extent(panel);
  const x = (row: number): string => number(LEFT + (rows <= 1 ? 0 : (row / (rows - 1)) * INNER_WIDTH));
  const y = (value: number): string => number(top + TOP + (1 - (value - low) / (high - low)) * INNER_HEIGHT);
  const perPixel = rows / INNER_WIDTH;
  const stripes = (panel.spans ?? []).flatMap(({ at, colour }) =>
    at.map(({ first, last }) => {
      const width = Math.max(1, Number(x(Math.min(last + 1, rows - 1))) - Number(x(first)));
      return `<rect x="${x(first)}" y="${top + TOP}" width="${number(width)}" height="${INNER_HEIGHT}" fill="${colour}" opacity="0.25"/>`;
    }),
  );
  const areas = (panel.bands ?? []).map(({ low: lows, high: highs, from = 0, colour }) => {
    const rowsOf = Array.from(lows, (_, row) => row).filter(
      (row) => Number.isFinite(lows[row]) && Number.isFinite(highs[row]),
    );
    const there = rowsOf.map((row) => `${x(from + row)},${y(highs[row] ?? 0)}`);
    const back = rowsOf.toReversed().map((row) => `${x(from + row)},${y(lows[row] ?? 0)}`);
    return `<polygon points="${[...there, ...back].join(" ")}" fill="${colour}" opacity="0.25"/>`;
  });
  const paths = panel.lines.map(({ values, from = 0, colour }) => {
    let path = "";
    let isDown = false;
    for (const row of drawn(values, perPixel)) {
      const value = values[row] ?? Number.NaN;
      if (Number.isFinite(value)) path += `${isDown ? "L" : "M"}${x(from + row)} ${y(value)}`;
      isDown = Number.isFinite(value);
    }
    return `<path d="${path}" fill="none" stroke="${colour}" stroke-width="1.2"/>`;
  });
  const levels = (panel.levels ?? []).map(
    ({ value, label: text }) =>
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(value)}" y2="${y(value)}" stroke="#57606a" stroke-dasharray="5 4"/><text x="${WIDTH - RIGHT - 4}" y="${number(Number(y(value)) - 4)}" text-anchor="end" fill="#57606a">${escapeXml(text)}</text>`,
  );
  const ticks = [low, (low + high) / 2, high].map(
    (value) =>
      `<text x="${LEFT - 6}" y="${number(Number(y(value)) + 4)}" text-anchor="end" fill="#57606a">${label(value)}</text>`,
  );
  const rowTicks = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const row = Math.round(share * (rows - 1));
    return `<text x="${x(row)}" y="${top + PANEL_HEIGHT - 6}" text-anchor="middle" fill="#57606a">${row}</text>`;
  });
  const legend = [...(panel.lines ?? []), ...(panel.bands ?? []), ...(panel.spans ?? [])]
    .map(({ label: text, colour }) => `<tspan fill="${colour}" dx="14">■ ${escapeXml(text)}</tspan>`)
    .join("");
  return [
    `<rect x="${LEFT}" y="${top + TOP}" width="${INNER_WIDTH}" height="${INNER_HEIGHT}" fill="#ffffff" stroke="#d0d7de"/>`,
    ...stripes,
    ...areas,
    ...paths,
    ...levels,
    ...ticks,
    ...rowTicks,
    `<text x="${LEFT}" y="${top + 22}" font-weight="600" fill="#1f2328">${escapeXml(panel.title)}<tspan font-weight="400">${legend}</tspan></text>`,
  ].join("\n");
};

/** Panels one below the other as one SVG file; its folder is made where it is missing. */
export const writePlot = (file: string, panels: readonly Panel[]): void => {
  const rows = panels
    .flatMap(({ lines, bands = [] }) => [
      ...lines.map(({ values, from = 0 }) => from + values.length),
      ...bands.map(({ low, from = 0 }) => from + low.length),
    ])
    .reduce((most, count) => Math.max(most, count), 1);
  const height = panels.length * PANEL_HEIGHT;
  const body = panels.map((panel, index) => drawPanel(panel, index * PANEL_HEIGHT, rows)).join("\n");
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(
    file,
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">\n<rect width="${WIDTH}" height="${height}" fill="#f6f8fa"/>\n${body}\n</svg>\n`,
  );
};
