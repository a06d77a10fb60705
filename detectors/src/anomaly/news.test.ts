import { expect, test } from "vitest";
import { ALERT_SURPRISE, alertSurprise, newsOf } from "./news.ts";
import { growSeriesAnomaly, N, numbersAt, startSeriesAnomaly } from "./state.ts";

const EPISODE_ROWS = 200;

/** What is told of one series whose surprise is `of(row)`. */
const tell = (rows: number, of: (row: number) => number) => {
  const state = startSeriesAnomaly();
  growSeriesAnomaly(state, 1);
  const n = numbersAt(0);
  state.numbers[n + N.toldRow] = Number.NEGATIVE_INFINITY;
  const told: number[] = [];
  for (let row = 0; row < rows; row++) if (newsOf(state, n, row, of(row)) > 0) told.push(row);
  return { told, episodes: state.numbers[n + N.episodes] ?? Number.NaN };
};

test("a series that alerts over and over needs ever rarer moments, and hears them still", () => {
  const often = (surprise: number) => (row: number) => (row % EPISODE_ROWS === 0 ? surprise : 0);
  expect(tell(EPISODE_ROWS, often(ALERT_SURPRISE)).told).toEqual([0]);
  const slight = tell(20 * EPISODE_ROWS, often(ALERT_SURPRISE + 0.25)).told.length;
  expect(slight).toBeGreaterThan(1);
  expect(slight).toBeLessThan(10);
  expect(tell(20 * EPISODE_ROWS, often(ALERT_SURPRISE + 1)).told).toHaveLength(20);
});

test("the back-off fades", () => {
  const busy = (row: number) => (row < 4000 && row % EPISODE_ROWS === 0 ? 6 : 0);
  const last = (at: number) => (row: number) => (row === at ? ALERT_SURPRISE + 0.1 : busy(row));
  expect(tell(4200, last(4190)).told).not.toContain(4190);
  expect(tell(20_000, last(19_990)).told).toContain(19_990);
});

test("an episode counts once for the back-off, however often it is told of", () => {
  const { told, episodes } = tell(10, (row) => 3 + row);
  expect(told.length).toBeGreaterThan(3);
  expect(episodes).toBeCloseTo(1, 1);
  expect(alertSurprise(episodes)).toBeGreaterThan(ALERT_SURPRISE);
  expect(alertSurprise(0)).toBe(ALERT_SURPRISE);
});
