import type { Log } from "@homeostat/schemas";

/** Lines of one text in one stretch of time; the first one after it says how many were left out. */
const LINES_MAX = 20;
const STRETCH_MS = 10_000;
/** Texts are constants of ours; should one not be, what is known of them is forgotten here. */
const TEXTS_MAX = 1_000;

interface Stretch {
  readonly beganUnixMs: number;
  lines: number;
  leftOut: number;
}

/**
 * The same log, in which one thing cannot drown all others: a bus that is down fails every result of a fleet, and whoever may write to the bus
 * can put as many records there that do not count as they like.
 */
export const sparingLog = (log: Log, now: () => number): Log => {
  const stretches = new Map<string, Stretch>();
  const sparing =
    (level: keyof Log): Log["warn"] =>
    (fields, message) => {
      const nowUnixMs = now();
      let stretch = stretches.get(message);
      if (stretch === undefined || Math.abs(nowUnixMs - stretch.beganUnixMs) >= STRETCH_MS) {
        const leftOut = stretch?.leftOut ?? 0;
        if (stretches.size >= TEXTS_MAX) stretches.clear();
        stretch = { beganUnixMs: nowUnixMs, lines: 0, leftOut: 0 };
        stretches.set(message, stretch);
        if (leftOut > 0)
          log[level]({ text: message, left_out: leftOut }, "more lines of one text than a log should hold");
      }
      if (stretch.lines >= LINES_MAX) {
        stretch.leftOut += 1;
        return;
      }
      stretch.lines += 1;
      log[level](fields, message);
    };
  return {
    debug: (...line) => log.debug(...line),
    info: sparing("info"),
    warn: sparing("warn"),
    error: sparing("error"),
  };
};
