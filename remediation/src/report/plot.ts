import { type Html, html } from "./html-text.ts";
import type { EvidenceAnswer, Report } from "./report.ts";

const WIDTH = 720;
const PLOT_HEIGHT = 120;
const LEFT = 64;
const RIGHT = 12;

const scale = (from: readonly [number, number], to: readonly [number, number]) => (value: number) =>
  from[1] === from[0] ? (to[0] + to[1]) / 2 : to[0] + ((value - from[0]) / (from[1] - from[0])) * (to[1] - to[0]);

const clock = (unixMs: number): string => new Date(unixMs).toISOString().slice(11, 19);

const PREFIXES = [
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
] as const;

const short = (value: number): string => {
  const prefix = PREFIXES.find(([size]) => Math.abs(value) >= size);
  return prefix === undefined
    ? String(Number(value.toPrecision(4)))
    : `${Number((value / prefix[0]).toPrecision(4))} ${prefix[1]}`;
};

type Series = EvidenceAnswer["series"][number];

/** One path for each stretch without a gap: a line drawn through missing data would be a lie. */
const pathOf = ({ points }: Series, x: (at: number) => number, y: (value: number) => number): string => {
  let isDown = false;
  let path = "";
  for (const [at, value] of points) {
    if (value === null || !Number.isFinite(value)) isDown = false;
    else {
      path += `${isDown ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
      isDown = true;
    }
  }
  return path;
};

/** Null when there is nothing to draw. */
export const plotSeries = (
  series: readonly Series[],
  marks: readonly { readonly at: number; readonly name: string }[],
): Html | null => {
  const drawn = series.filter(({ points }) => points.some(([, value]) => value !== null && Number.isFinite(value)));
  const times = drawn.flatMap(({ points }) => points.map(([at]) => at));
  const values = drawn
    .flatMap(({ points }) => points.map(([, value]) => value))
    .filter((value): value is number => value !== null && Number.isFinite(value));
  if (times.length === 0) return null;
  const [from, to] = [times.reduce((a, b) => Math.min(a, b)), times.reduce((a, b) => Math.max(a, b))];
  const [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
  const x = scale([from, to], [LEFT, WIDTH - RIGHT]);
  const y = scale([low, high], [PLOT_HEIGHT - 20, 10]);
  const unit = drawn[0]?.unit ?? "";
  return html`<figure><svg viewBox="0 0 ${WIDTH} ${PLOT_HEIGHT}" role="img">
    <line class="axis" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${PLOT_HEIGHT - 20}" y2="${PLOT_HEIGHT - 20}"/>
    <text class="tick" x="${LEFT - 6}" y="14" text-anchor="end">${short(high)}</text>
    <text class="tick" x="${LEFT - 6}" y="${PLOT_HEIGHT - 20}" text-anchor="end">${short(low)}</text>
    <text class="tick" x="${LEFT}" y="${PLOT_HEIGHT - 6}">${clock(from)}</text>
    <text class="tick" x="${WIDTH - RIGHT}" y="${PLOT_HEIGHT - 6}" text-anchor="end">${clock(to)}</text>
    ${marks
      .filter(({ at }) => at >= from && at <= to)
      .map(
        ({ at, name }) =>
          html`<line class="mark ${name}" x1="${x(at).toFixed(1)}" x2="${x(at).toFixed(1)}" y1="6" y2="${PLOT_HEIGHT - 20}"><title>${name}</title></line>`,
      )}
    ${drawn.map((one, index) => html`<path class="series s${index % 4}" d="${pathOf(one, x, y)}"><title>${one.name}</title></path>`)}
  </svg><figcaption>${drawn.map(({ name }) => name).join(", ")}${unit === "" ? "" : ` (${unit})`}</figcaption></figure>`;
};

/** From the fault's beginning to the recovery, in the colours of its phases. */
export const plotTimeline = ({ times, timeline }: Report): Html => {
  const from = times.started_at_unix_ms;
  const lastEntry = timeline.at(-1)?.at_unix_ms ?? times.detected_at_unix_ms;
  const to = Math.max(times.recovered_at_unix_ms ?? lastEntry, times.detected_at_unix_ms, from + 1);
  const x = scale([from, to], [LEFT, WIDTH - RIGHT]);
  const at = (unixMs: number | null): number => Math.min(to, Math.max(from, unixMs ?? to));
  const detected = at(times.detected_at_unix_ms);
  const explained = Math.max(detected, at(times.explained_at_unix_ms ?? times.detected_at_unix_ms));
  const phases = [
    { name: "undetected", from, to: detected },
    { name: "unexplained", from: detected, to: explained },
    { name: "healing", from: explained, to: at(times.recovered_at_unix_ms) },
  ];
  return html`<figure><svg viewBox="0 0 ${WIDTH} 74" role="img">
    ${phases.map(({ name, from: begin, to: end }) => html`<rect class="phase ${name}" x="${x(begin).toFixed(1)}" y="22" height="20" width="${Math.max(0, x(end) - x(begin)).toFixed(1)}" rx="3"><title>${name}</title></rect>`)}
    ${timeline
      .filter(({ at_unix_ms }) => at_unix_ms >= from && at_unix_ms <= to)
      .map(
        ({ at_unix_ms, kind, text }) =>
          html`<circle class="event" cx="${x(at_unix_ms).toFixed(1)}" cy="32" r="4"><title>${clock(at_unix_ms)} ${kind}: ${text}</title></circle>`,
      )}
    <text class="tick" x="${LEFT}" y="14">began ${clock(from)}</text>
    <text class="tick" x="${WIDTH - RIGHT}" y="14" text-anchor="end">${times.recovered_at_unix_ms === null ? "not recovered" : "recovered"} ${clock(to)}</text>
    <text class="tick" x="${LEFT}" y="62"><tspan class="undetected">■</tspan> until detected <tspan class="unexplained">■</tspan> until explained <tspan class="healing">■</tspan> until recovered</text>
  </svg></figure>`;
};
