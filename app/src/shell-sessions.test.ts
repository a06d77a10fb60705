import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { JobHappening, Principal } from "@homeostat/analytics";
import { type AuditRecord, Job } from "@homeostat/schemas";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RecordedSessions, type ShellSessionsOptions } from "./shell-sessions.ts";
import { createTranscripts, TranscriptsConfig } from "./transcripts.ts";

const ignore = () => undefined;
const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
const sid: Principal = { name: "sid", roles: ["shell"] };
const REQUEST = { host: "web-1", for_ms: 60_000, reason: "", columns: 80, rows: 24, term: "xterm" };
const NO_DIGEST = "0".repeat(64);

let dir: string;
let typed: Buffer[];
let isBehind: boolean;
let listeners: Map<string, (event: JobHappening) => void>;
let cancelled: string[];
let open: Job[];
let records: AuditRecord[];
let now: number;
let opened: number;

/** The control plane's side of a session: what it is asked is written down, what hosts say is said by `listeners`. */
const control = (): ShellSessionsOptions["control"] => ({
  agent: (host) => ({
    host,
    site: "",
    labels: {},
    agent_version: "0.1.0",
    state: "online",
    link: host === "local-1" ? "bus" : "channel",
    server: null,
    last_seen_unix_ms: now,
    clock_skew_ms: null,
    problems: [],
    plugins: [],
  }),
  submit: async (request) => {
    const job = Job.parse({
      job_id: `job-${++opened}`,
      request,
      requested_by: "sid",
      risk: "destructive",
      state: "running",
      hosts: ["web-1"],
      sites: {},
      approvals: [],
      created_at_unix_ms: now,
      not_after_unix_ms: now,
      ended_at_unix_ms: null,
      counts: {},
      message: "",
    });
    open.push(job);
    return job;
  },
  jobs: () => open,
  cancel: async (id) => {
    cancelled.push(id);
    open = open.filter(({ job_id }) => job_id !== id);
    return { refused: "not_found", message: "" };
  },
  follow: (id, listener) => {
    listeners.set(id, listener);
    return () => listeners.delete(id);
  },
  input: (_command, _host, data) => {
    if (!isBehind) typed.push(data);
    return !isBehind;
  },
  resize: () => true,
  audit: {
    append: async (who, what, subject, details) => {
      const at = { sequence: records.length + 1, at_unix_ms: now, key_id: "k", signature: "" };
      records.push({ ...at, who, what, subject, details, previous_sha256: NO_DIGEST, sha256: NO_DIGEST });
    },
    read: async (from, limit) => records.slice(from - 1, from - 1 + limit),
    verify: async () => ({ ok: true, records: 0, head_sha256: "" }),
  },
});

const sessionsWith = (config: object = {}): RecordedSessions => {
  const parsed = TranscriptsConfig.parse(config);
  const transcripts = createTranscripts({ dir, config: parsed, now: () => now });
  return new RecordedSessions({
    control: control(),
    transcripts,
    sessionBytesMax: parsed.session_bytes_max,
    now: () => now,
    log,
  });
};

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "homeostat-transcripts-"));
  opened = 0;
  [typed, isBehind, listeners, cancelled, open, records, now] = [[], false, new Map(), [], [], [], 1_785_600_000_000];
});
afterEach(() => rmSync(dir, { recursive: true }));

const begin = async (
  sessions: RecordedSessions,
): Promise<{ id: string; say: (text: string, sequence: number) => void }> => {
  const job = await sessions.open(REQUEST, sid);
  if ("refused" in job) throw new Error(job.message);
  const id = job.job_id;
  const of = { host: "web-1", command_id: `${id}.1` };
  listeners.get(id)?.({ type: "invocation", ...of, state: "running", at_unix_ms: now });
  const say = (text: string, sequence: number): void =>
    listeners.get(id)?.({ type: "output", ...of, stream: "pty", sequence, data: Buffer.from(text).toString("base64") });
  return { id, say };
};
const end = (id: string): void => {
  const job = open.find(({ job_id }) => job_id === id);
  if (job !== undefined) listeners.get(id)?.({ type: "end", job: { ...job, state: "succeeded" } });
};
const events = (id: string): unknown[] =>
  readFileSync(join(dir, readdirSync(dir).find((name) => name.startsWith(`${id}.`)) ?? ""), "utf8")
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => JSON.parse(line));

describe("a session", () => {
  it("on an agent that takes no keys is refused at once, before anybody has to approve", async () => {
    expect(await sessionsWith().open({ ...REQUEST, host: "local-1" }, sid)).toMatchObject({ refused: "invalid" });
    expect(open).toEqual([]);
  });
});

describe("keys that are typed into a session", () => {
  it("come once and in order, however often they are sent", async () => {
    const sessions = sessionsWith();
    const { id } = await begin(sessions);
    const send = (sequence: number, text: string) => sessions.input(id, { sequence, data: Buffer.from(text) }, sid);
    expect(send(0, "a")).toEqual({ next_sequence: 1 });
    expect(send(0, "a")).toEqual({ next_sequence: 1 });
    expect(send(2, "c")).toMatchObject({ refused: "too_early" });
    expect(send(1, "b")).toEqual({ next_sequence: 2 });
    isBehind = true;
    expect(send(2, "c")).toMatchObject({ refused: "behind" });
    isBehind = false;
    expect(send(2, "c")).toEqual({ next_sequence: 3 });
    expect(Buffer.concat(typed).toString()).toBe("abc");
  });

  it("are taken from nobody but who opened it, before it has begun, or after its end", async () => {
    const sessions = sessionsWith();
    const { id } = await begin(sessions);
    const input = { sequence: 0, data: Buffer.from("x") };
    expect(sessions.input(id, input, { name: "eve", roles: ["shell", "admin"] })).toMatchObject({
      refused: "not_allowed",
    });
    const early = await sessions.open(REQUEST, sid);
    if ("refused" in early) throw new Error(early.message);
    expect(sessions.input(early.job_id, input, sid)).toMatchObject({ refused: "not_begun" });
    end(id);
    expect(sessions.input(id, input, sid)).toMatchObject({ refused: "not_found" });
    expect(typed).toEqual([]);
  });
});

describe("a transcript", () => {
  it("is asciicast v2: what was shown, typed, resized and lost, in order and in time", async () => {
    const sessions = sessionsWith();
    const { id, say } = await begin(sessions);
    say("$ ", 0);
    now += 1500;
    sessions.input(id, { sequence: 0, data: Buffer.from("ls\r") }, sid);
    sessions.resize(id, { sequence: 0, columns: 100, rows: 30 }, sid);
    // A character in two pieces, then a piece that never came.
    for (const [at, byte] of [...Buffer.from("é")].entries())
      listeners.get(id)?.({
        type: "output",
        host: "web-1",
        command_id: `${id}.1`,
        stream: "pty",
        sequence: at + 1,
        data: Buffer.of(byte).toString("base64"),
      });
    say("end", 9);
    expect(events(id)).toEqual([
      [0, "o", "$ "],
      [1.5, "i", "ls\r"],
      [1.5, "r", "100x30"],
      [1.5, "o", "é"],
      [1.5, "m", "6 pieces of output were lost on the way"],
      [1.5, "o", "end"],
    ]);
  });

  it("holds no keys where they are not to be recorded", async () => {
    const sessions = sessionsWith({ record_input: false });
    const { id } = await begin(sessions);
    sessions.input(id, { sequence: 0, data: Buffer.from("secret") }, sid);
    expect(events(id)).toEqual([]);
  });

  it("is sealed in the audit log when its session ends, and after a crash by the next process", async () => {
    const sessions = sessionsWith();
    const first = await begin(sessions);
    first.say("one", 0);
    end(first.id);
    await sessions.tend();
    const second = await begin(sessions);
    second.say("two", 0);
    // The process is gone; another one finds the file, and a session that nobody records.
    const next = sessionsWith();
    await next.tend();
    expect(records.map(({ who, what, subject }) => [who, what, subject])).toEqual([
      ["sid", "shell.recorded", first.id],
      ["sid", "shell.recorded", second.id],
    ]);
    expect(cancelled).toEqual([first.id, second.id]);
    expect((await next.transcripts()).map(({ state }) => state)).toEqual(["whole", "whole"]);
    expect(readdirSync(dir).sort()).toEqual([`${first.id}.cast`, `${second.id}.cast`]);
  });

  it("that was altered and sealed anew counts as altered: the first seal is the one", async () => {
    const sessions = sessionsWith();
    const { id, say } = await begin(sessions);
    say("truth", 0);
    end(id);
    await sessions.tend();
    const path = join(dir, `${id}.cast`);
    writeFileSync(`${path}.part`, readFileSync(path, "utf8").replace("truth", "lies!"));
    rmSync(path);
    await sessions.tend();
    expect(records).toHaveLength(2);
    expect((await sessions.transcript(id))?.row.state).toBe("altered");
  });

  it("ends its session when it grows beyond its limit", async () => {
    const sessions = sessionsWith({ session_bytes_max: 1_048_576 });
    const { id, say } = await begin(sessions);
    for (let sequence = 0; sequence < 20; sequence += 1) say("x".repeat(65_536), sequence);
    expect(cancelled).toEqual([id]);
    expect(sessions.input(id, { sequence: 0, data: Buffer.from("x") }, sid)).toMatchObject({ refused: "not_found" });
  });

  it("gives way, oldest first, beyond the number that is kept, and the audit log says so", async () => {
    const sessions = sessionsWith({ count_max: 1 });
    for (let i = 0; i < 2; i += 1) {
      const { id } = await begin(sessions);
      now += 1000;
      end(id);
      await sessions.tend();
    }
    expect(readdirSync(dir)).toEqual(["job-2.cast"]);
    expect(records.at(-1)).toMatchObject({ what: "shell.transcript_removed", subject: "job-1" });
  });

  it("of any length is listed by its first line alone", async () => {
    const sessions = sessionsWith();
    const { id } = await begin(sessions);
    // Longer than a string can be, and without a block on the disk.
    truncateSync(join(dir, `${id}.cast.part`), 600 * 1_048_576);
    const transcripts = createTranscripts({ dir, config: TranscriptsConfig.parse({}), now: () => now });
    expect(transcripts.list()).toMatchObject([{ session_id: id, bytes: 600 * 1_048_576 }]);
    rmSync(join(dir, `${id}.cast.part`));
  });

  it.each(["../secrets/api-token", "..", "a/b", "", "a\0b"])("is not found by the path %j", async (id) => {
    expect(await sessionsWith().transcript(id)).toBeNull();
  });
});
