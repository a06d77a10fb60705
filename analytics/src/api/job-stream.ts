import { Readable } from "node:stream";
import type { FleetPort, JobLine } from "./fleet-ports.ts";

const HEARTBEAT_MS = 3_000;
/** Beyond this much unread, output is left out and counted. */
const WAITING_CHARS_MAX = 4 * 1_048_576;
/** Beyond this much unread, the reader is given up: it may come again and ask for the job's invocations. */
const GIVE_UP_CHARS = 32 * 1_048_576;

export interface JobStreamPorts extends Pick<FleetPort, "follow" | "job"> {
  readonly now: () => number;
}

/** Writes lines, unless the reader is behind. */
const lineWriter = (stream: Readable) => {
  let skipped = 0;
  const put = (line: JobLine): void => {
    if (stream.destroyed || stream.readableEnded) return;
    if (stream.readableLength > GIVE_UP_CHARS) stream.destroy(new Error("the reader of a job's stream is too slow"));
    else stream.push(`${JSON.stringify(line)}\n`);
  };
  return (line: JobLine): void => {
    if (line.type === "output" && stream.readableLength > WAITING_CHARS_MAX) {
      skipped += 1;
      return;
    }
    if (skipped > 0 && line.type !== "heartbeat") {
      put({ type: "skipped", lines: skipped });
      skipped = 0;
    }
    put(line);
  };
};

/**
 * A job's happenings as lines of JSON: the job as it stands, what happens from then on, and its end. Null where there is no such job. What
 * happened before is not told: whoever comes late asks for the job's invocations. @throws RangeError when too many follow it already
 */
export const jobStream = (jobId: string, { follow, job, now }: JobStreamPorts): Readable | null => {
  if (job(jobId) === null) return null;
  const stream = new Readable({ encoding: "utf8", read: () => undefined });
  const write = lineWriter(stream);
  let beating: NodeJS.Timeout | undefined;
  let isOver = false;
  // First, for it may be refused: then nothing has begun that somebody would have to end.
  const unfollow = follow(jobId, (line) => {
    write(line);
    if (line.type !== "end" && line.type !== "left") return;
    isOver = true;
    clearInterval(beating);
    stream.push(null);
  });
  if (!isOver) beating = setInterval(() => write({ type: "heartbeat", at_unix_ms: now() }), HEARTBEAT_MS).unref();
  stream.once("close", () => {
    clearInterval(beating);
    unfollow();
  });
  return stream;
};
