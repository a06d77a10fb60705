import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { TranscriptRow } from "@homeostat/analytics";
import { z } from "zod";
import { type ApiClient, connectTo } from "./client.ts";
import { FLAGS } from "./flags.ts";
import { durationIn } from "./job-request.ts";
import { stateColour, table } from "./style.ts";
import { numberIn } from "./targets.ts";
import { AS_IT_WAS, drawingOnly, printable } from "./terminal-text.ts";
import { one, STOPPED_EARLY, type Verb, type VerbInput } from "./verb.ts";

const SPEED_MAX = 1_000;
/** asciicast v2: https://docs.asciinema.org/manual/asciicast/v2/ */
const Header = z.looseObject({ version: z.literal(2), width: z.int(), height: z.int(), title: z.string().default("") });
const Event = z.tuple([z.number(), z.string(), z.string()]);

const list = async (api: ApiClient, { out, json }: { out: VerbInput["out"]; json: boolean }): Promise<number> => {
  const shape = z.object({ transcripts: z.array(TranscriptRow) });
  const found = await api.get("/api/v1/transcripts", shape);
  if (json) out(JSON.stringify(found));
  else if (found.transcripts.length === 0) out("no transcripts");
  else
    out(
      table([
        ["session", "host", "by", "opened", "bytes", "state"],
        ...found.transcripts.map((row) => [
          row.session_id,
          row.host,
          row.opened_by,
          new Date(row.opened_at_unix_ms).toISOString(),
          String(row.bytes),
          row.state,
        ]),
      ]),
    );
  return 0;
};

/** A file that ends in .cast, or a session of the platform's. */
const read = async (
  name: string,
  connected: () => ApiClient,
): Promise<{ readonly text: string; readonly state: string }> => {
  if (name.endsWith(".cast") || name.endsWith(".cast.part")) {
    const bytes = readFileSync(name);
    return { text: bytes.toString("utf8"), state: `sha256 ${createHash("sha256").update(bytes).digest("hex")}` };
  }
  const response = await connected().response(`/api/v1/transcripts/${encodeURIComponent(name)}`);
  return { text: await response.text(), state: response.headers.get("x-transcript-state") ?? "unsealed" };
};

/** A file that a crash cut off ends in half a line: what is whole is played. */
const eventsOf = (lines: readonly string[]): readonly z.infer<typeof Event>[] =>
  lines.flatMap((line) => {
    try {
      const event = Event.safeParse(JSON.parse(line));
      return event.success ? [event.data] : [];
    } catch (error) {
      if (error instanceof SyntaxError) return [];
      throw error;
    }
  });

interface Playing {
  readonly speed: number;
  readonly idleMaxMs: number;
  readonly isRaw: boolean;
  readonly signal: AbortSignal;
  readonly write: (text: string) => void;
}

/** Resolves with how many sequences were left out. */
const play = async (events: readonly z.infer<typeof Event>[], playing: Playing): Promise<number> => {
  const { speed, idleMaxMs, isRaw, signal, write } = playing;
  const screen = drawingOnly();
  let lastS = 0;
  for (const [atS, code, text] of events) {
    const waitMs = Math.min(idleMaxMs, (atS - lastS) * 1000) / speed;
    lastS = atS;
    if (waitMs > 1) await delay(waitMs, undefined, { signal });
    if (code === "o") write(isRaw ? text : screen.write(text));
    if (code === "m") write(`\r\n(${printable(text)})\r\n`);
  }
  if (!isRaw) write(AS_IT_WAS);
  return screen.leftOut;
};

/** `homeostat replay SESSION | FILE.cast`. Exit code 1 for a transcript that was altered. */
export const replay: Verb = async ({ args, env, out, err, signal }) => {
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: FLAGS.replay });
  if (values.list) return list(connectTo(values, env), { out, json: values.json });
  const name = one(positionals, "session or file (--list tells which there are)");
  const speed = numberIn("speed", values.speed, [0.01, SPEED_MAX]);
  const idleMaxMs = durationIn("idle-max", values["idle-max"], ["1s", "24h"]);
  const { text, state } = await read(name, () => connectTo(values, env));
  const [first = "", ...lines] = text.split("\n");
  const header = Header.parse(JSON.parse(first));
  err(`${printable(header.title)}, ${header.width}x${header.height}: ${stateColour(state)}`);
  try {
    const write = (shown: string): void => void process.stdout.write(shown);
    const leftOut = await play(eventsOf(lines), { speed, idleMaxMs, isRaw: values.raw, signal, write });
    if (leftOut > 0) err(`\n${leftOut} control sequences that do not draw were left out (--raw lets them through)`);
  } catch (error) {
    if (!signal.aborted) throw error;
    process.stdout.write(AS_IT_WAS);
    return STOPPED_EARLY;
  }
  if (state === "altered") err("this transcript is not what was recorded: its digest differs from the audit log's");
  return state === "altered" ? 1 : 0;
};
