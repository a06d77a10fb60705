import { MEMORY_ROWS } from "./judge.ts";
import { LEVEL, N, type SeriesAnomalies, VARIABILITY } from "./state.ts";

/** An alert needs a moment that comes about once in a thousand: −log10. */
export const ALERT_SURPRISE = 3;

/** Back-off: after many episodes a moment must be rarer, by their number to this power, so that a restless series does not weary; 0.3 to 0.5 do alike. */
const BACK_OFF_EXPONENT = 0.4;

/** What was told fades over so many rows: within them only what exceeds the rest of it is news. */
const HOLD_ROWS = 100;

/** During an episode less than half a power of ten more is no news. */
const NEWS_MARGIN = 0.5;

/** An alert is over after so many rows in a row with less than this surprise from the members with a short memory: the others still see the fault. */
const CALM_SURPRISE = 1;
const CALM_ROWS = 12;
const SHORT_MEMBERS = [0, 1, LEVEL, VARIABILITY];

const isCalm = ({ surprises }: SeriesAnomalies): boolean =>
  SHORT_MEMBERS.every((member) => (surprises[member] as number) < CALM_SURPRISE);

const followAlert = (state: SeriesAnomalies, n: number, isTold: boolean): void => {
  const { numbers, verdict } = state;
  const wasAlert = numbers[n + N.alert] === 1;
  const calm = isCalm(state) ? (numbers[n + N.calm] as number) + 1 : 0;
  const isAlert = isTold || (wasAlert && calm < CALM_ROWS);
  numbers[n + N.calm] = calm;
  numbers[n + N.alert] = isAlert ? 1 : 0;
  verdict.isAlert = isAlert;
};

/** The surprise that an alert needs after so many episodes. */
export const alertSurprise = (episodes: number): number =>
  ALERT_SURPRISE + BACK_OFF_EXPONENT * Math.log10(1 + episodes);

/** What is new in a surprise: all of it after a quiet time, during an episode what exceeds that which was told and has not faded, 0 when nothing does. */
export const newsOf = (state: SeriesAnomalies, n: number, row: number, surprise: number): number => {
  const { numbers } = state;
  const fade = Math.max(0, 1 - (row - (numbers[n + N.toldRow] as number)) / HOLD_ROWS);
  const known = (numbers[n + N.told] as number) * fade;
  const episodes = (numbers[n + N.episodes] as number) * (1 - 1 / MEMORY_ROWS);
  const isTold = surprise >= alertSurprise(episodes) && (known === 0 || surprise > known + NEWS_MARGIN);
  numbers[n + N.episodes] = isTold && known === 0 ? episodes + 1 : episodes;
  if (isTold) {
    numbers[n + N.told] = surprise;
    numbers[n + N.toldRow] = row;
  }
  followAlert(state, n, isTold);
  return isTold ? surprise - known : 0;
};
