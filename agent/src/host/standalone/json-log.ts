import { writeSync } from "node:fs";
import type { Log } from "@homeostat/schemas";

const LEVELS = ["debug", "info", "warn", "error"] as const;
type Level = (typeof LEVELS)[number];
const LINE_CHARS_MAX = 16_384;
const STDERR = 2;

/** JSON lines on standard error, which the journal or the container keeps. A line that cannot be written is gone: nothing could tell of it. */
export const createJsonLog = (least: Level, now: () => number): Log => {
  const write = (level: Level) => (fields: Readonly<Record<string, unknown>>, message: string) => {
    if (LEVELS.indexOf(level) < LEVELS.indexOf(least)) return;
    const line = JSON.stringify({ time: new Date(now()).toISOString(), level, ...fields, message });
    try {
      writeSync(STDERR, `${line.slice(0, LINE_CHARS_MAX)}\n`);
    } catch (error) {
      // EAGAIN of a full pipe, EPIPE of a reader that has gone: the agent's work is not to wait for it.
      if (!(error instanceof Error)) throw error;
    }
  };
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
};
