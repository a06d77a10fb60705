/** When a host's score becomes an alert: a level to enter and a lower one to leave, and less trust after each alert. */

const DAY_MS = 86_400_000;

/** Nothing is said before a day has been seen, nor before so many rows. */
const WARM_UP_MS = DAY_MS;
const WARM_UP_ROWS = 256;

/** Of a pause no more than this counts as observed. */
const SEEN_STEP_MAX_MS = 3_600_000;

/** An alert is over when the score has been below this share of the level for so many rows. */
const LEAVE_SHARE = 0.8;
const LEAVE_ROWS = 5;

/** Several rows near the level are an alert too: it begins when the mean of about the last four is above the level to leave. */
const RECENT_RATE = 0.25;

/** Each alert raises the level for the next by this factor, and half of that is forgiven in half a day. */
const DOUBT = 1.15;
const DOUBT_HALF_LIFE_MS = DAY_MS / 2;

/** Unusual for so long is the new usual: the alert ends, and the model has begun to learn it in full. */
const ALERT_MAX_MS = 2 * DAY_MS;

export interface HostAlert {
  isOn: boolean;
  startedUnixMs: number;
  /** Rows below the level to leave. */
  calmRows: number;
  /** The mean score of about the last four rows, each counted up to the level. */
  recent: number;
  /** What the level is multiplied by, from 1. */
  doubt: number;
  /** Observed so far. */
  seenMs: number;
  rows: number;
}

export const makeHostAlert = (): HostAlert => ({
  isOn: false,
  startedUnixMs: Number.NaN,
  calmRows: 0,
  recent: 0,
  doubt: 1,
  seenMs: 0,
  rows: 0,
});

/** Enough has been seen for an alert to be believed. */
export const isWarm = ({ seenMs, rows }: HostAlert): boolean => seenMs >= WARM_UP_MS && rows >= WARM_UP_ROWS;

export interface ScoredRow {
  readonly timeUnixMs: number;
  /** Since the row before. */
  readonly elapsedMs: number;
  readonly score: number;
  /** The configured level, or the score that is unusual for this host where that is higher. */
  readonly level: number;
}

/** Moves on by one row; true while the alert is on. */
export const decide = (alert: HostAlert, { timeUnixMs, elapsedMs, score, level }: ScoredRow): boolean => {
  alert.rows += 1;
  alert.seenMs += Math.min(elapsedMs, SEEN_STEP_MAX_MS);
  alert.doubt = 1 + (alert.doubt - 1) * 2 ** (-elapsedMs / DOUBT_HALF_LIFE_MS);
  const entered = level * alert.doubt;
  alert.recent += RECENT_RATE * (Math.min(score, entered) - alert.recent);
  if (alert.isOn) {
    alert.calmRows = score < LEAVE_SHARE * level ? alert.calmRows + 1 : 0;
    if (alert.calmRows >= LEAVE_ROWS || timeUnixMs - alert.startedUnixMs >= ALERT_MAX_MS) alert.isOn = false;
    return alert.isOn;
  }
  if (!isWarm(alert) || !(score > entered || alert.recent > LEAVE_SHARE * entered)) return false;
  alert.isOn = true;
  alert.startedUnixMs = timeUnixMs;
  alert.calmRows = 0;
  alert.doubt *= DOUBT;
  return true;
};
