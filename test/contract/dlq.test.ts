import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createApi } from "@homeostat/analytics";
import { createEmbeddedBus } from "@homeostat/app";
import { createDeadLetters, type DeadLetters, TELEMETRY_GROUP } from "@homeostat/ingest";
import { BatchBuilder, type Bus, type BusMessage, decodeHeader, topics } from "@homeostat/schemas";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { type Engine, silent, startEngine } from "../fixtures/batch/engine.ts";
import { seal } from "../fixtures/batch/hostile-values.ts";
import { startIngest } from "../fixtures/batch/ingest-run.ts";
import { HOST, logsBatch, NOW, on, poison } from "../fixtures/batch/telemetry-values.ts";

const DAY_MS = 86_400_000;
const TOKEN = "t".repeat(32);

let engine: Engine;
beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine.stop());
beforeEach(async () => {
  for (const table of ["logs", "ingest_ledger"]) await engine.query(`TRUNCATE TABLE ${table} SYNC`);
});

interface World {
  readonly bus: Bus;
  readonly dlq: DeadLetters;
  /** Who replayed what, as the log has it. */
  readonly told: unknown[];
  /** Runs ingest until it has read everything. */
  drain(): Promise<void>;
  /** The clock of the bus: what is late today. */
  advance(ms: number): void;
}

const startWorld = async (): Promise<World> => {
  const dir = await mkdtemp(join(tmpdir(), "homeostat-dlq-"));
  let now = NOW;
  const bus = await createEmbeddedBus({ dir, topics: topics(), now: () => now, log: silent });
  const told: unknown[] = [];
  const log = { ...silent, info: (fields: unknown) => void told.push(fields) };
  onTestFinished(async () => {
    await bus.stop();
    await rm(dir, { recursive: true, force: true });
  });
  const drain = async () => {
    const run = await startIngest(bus, { insert: engine.store });
    const isDone = async (topic: string) => (await bus.lag(TELEMETRY_GROUP, topic)).every((lag) => lag === 0);
    await run.until(async () => (await isDone("telemetry.logs")) && (await isDone("telemetry.metrics")));
    await run.ingest.stop();
  };
  const advance = (ms: number) => {
    now += ms;
  };
  return { bus, dlq: createDeadLetters({ bus, log, name: "test" }), told, drain, advance };
};

/** One batch whose rows are so many days old. */
const ofDays = (sequence: number, days: readonly number[]): Uint8Array => {
  const builder = new BatchBuilder("logs");
  for (const [row, day] of days.entries())
    builder.append({
      timestamp: BigInt(NOW - day * DAY_MS - row) * 1_000_000n,
      severity_number: 9,
      service_name: "shop",
      host_name: HOST,
      trace_id: "",
      span_id: "",
      body: `of day ${day}`,
      attributes: {},
    });
  return builder.finish({ producer: `${HOST}/a`, sequence });
};

const stored = async (): Promise<string[]> =>
  (await engine.query("SELECT body FROM logs ORDER BY timestamp DESC FORMAT TSV")).split("\n").filter(Boolean);

const apiOf = (dlq: DeadLetters) => {
  const parts = {
    reports: async () => null,
    health: async () => [],
    decide: async () => refusal,
    acknowledge: async () => refusal,
  };
  const refusal = { refused: "not_here", message: "not here" };
  return createApi({
    ...parts,
    run: engine.store.run,
    reload: async () => ({ message: "no", problems: [] }),
    now: () => NOW,
    log: silent,
    version: "0",
    token: TOKEN,
    isLoopback: true,
    deadLetters: dlq,
  });
};

const askApi = async (dlq: DeadLetters, request: { url: string; headers: { host: string } }) => {
  const api = apiOf(dlq);
  onTestFinished(() => api.close());
  const { statusCode: code, body } = await api.inject(request);
  return { code, body };
};

/** The bus's calls, to put others in the place of some. */
const bare = (bus: Bus): Bus => ({
  publish: (messages) => bus.publish(messages),
  consume: (options) => bus.consume(options),
  lag: (group, topic) => bus.lag(group, topic),
  stop: () => bus.stop(),
});

describe("dead letters", () => {
  it("of a mixed batch hold the rows outside alone, under the sender's name", async () => {
    const { bus, dlq, drain } = await startWorld();
    await bus.publish(on("telemetry.logs", [ofDays(1, [0, 8, 1, 9])]));
    await drain();
    expect(await stored()).toEqual(["of day 0", "of day 1"]);
    const { letters, next } = await dlq.list({});
    expect(next).toBeNull();
    expect(letters).toMatchObject([
      {
        id: "telemetry.logs.dlq/0/0",
        reason: "late",
        rows: 2,
        schema: "logs",
        producer: `${HOST}/a`,
        sequence: 1,
        key: HOST,
      },
    ]);
    const shown = await dlq.show("telemetry.logs.dlq/0/0");
    expect(shown?.content).toMatchObject({ kind: "rows", more: 0, rows: [{ body: "of day 8" }, { body: "of day 9" }] });
  });

  it("come into the store once when they are replayed, however often that is done", async () => {
    const { bus, dlq, drain, told } = await startWorld();
    await bus.publish(on("telemetry.logs", [ofDays(1, [0, 8, 9])]));
    await drain();
    const ids = ["telemetry.logs.dlq/0/0"];
    expect(await dlq.replay(ids, { by: "ann", dryRun: true })).toEqual({
      replayed: [{ id: ids[0], topic: "telemetry.logs", rows: 2 }],
      refused: [],
    });
    await drain();
    expect(await stored(), "a dry run sends nothing").toEqual(["of day 0"]);
    expect(told).toEqual([]);
    for (const by of ["ann", "bob"]) await dlq.replay(ids, { by, dryRun: false });
    await drain();
    await dlq.replay(ids, { by: "cid", dryRun: false });
    await drain();
    expect(await stored()).toEqual(["of day 0", "of day 8", "of day 9"]);
    expect((await dlq.list({})).letters, "no letter came back").toHaveLength(1);
    expect(told).toMatchObject(["ann", "bob", "cid"].map((by) => ({ by, letter: ids[0], rows: 2 })));
  });

  it("that are refused again come back as letters that say of which they are the replay", async () => {
    const { bus, dlq, drain, advance } = await startWorld();
    const future = logsBatch(2, { atUnixMs: NOW + DAY_MS });
    await bus.publish(on("telemetry.logs", [Buffer.from("junk"), future]));
    await drain();
    const first = (await dlq.list({})).letters;
    expect(first.map(({ reason, replay_of }) => [reason, replay_of])).toEqual([
      ["malformed", null],
      ["future", null],
    ]);
    await dlq.replay(
      first.map(({ id }) => id),
      { by: "ann", dryRun: false },
    );
    await drain();
    const { letters } = await dlq.list({ after: first[1]?.id });
    expect(letters.map(({ reason, replay_of }) => [reason, replay_of])).toEqual([
      ["malformed", first[0]?.id],
      ["future", first[1]?.id],
    ]);
    expect((await dlq.show(letters[0]?.id ?? ""))?.content, "byte for byte").toMatchObject({
      kind: "bytes",
      hex: Buffer.from("junk").toString("hex"),
    });
    advance(DAY_MS);
    await dlq.replay([letters[1]?.id ?? ""], { by: "ann", dryRun: false });
    await drain();
    expect(await stored(), "the future has come").toHaveLength(3);
  });

  it("whose header lies about its times are taken by their rows when they are replayed", async () => {
    const { bus, dlq, drain } = await startWorld();
    const good = logsBatch(3);
    const header = decodeHeader(good);
    const lying = { ...header, time_min_unix_ms: header.time_min_unix_ms + 1, time_max_unix_ms: NOW };
    const frame = Buffer.from(good.subarray(good.length - header.frame_bytes));
    const lie = seal(Buffer.from(JSON.stringify(lying)), frame);
    await bus.publish(on("telemetry.logs", [logsBatch(1), poison(logsBatch(2)), lie]));
    await drain();
    const { letters } = await dlq.list({ reason: "malformed" });
    expect(letters.map(({ detail }) => detail.split(":")[0])).toEqual(["row_count_mismatch", "lying_header"]);
    expect(letters[1]).toMatchObject({ producer: `${HOST}/a`, rows: 3 });
    expect(await stored()).toHaveLength(3);
    await dlq.replay([letters[1]?.id ?? ""], { by: "ann", dryRun: false });
    await drain();
    expect(await stored()).toHaveLength(6);
  });

  it("of rows from more days than one insert may have come in by several batches, once", async () => {
    const { bus, dlq, drain } = await startWorld();
    await engine.query("ALTER TABLE metric_samples MODIFY TTL toDateTime(timestamp) + toIntervalDay(3000)");
    const builder = new BatchBuilder("metric_samples");
    for (let day = 10; day < 120; day += 1)
      builder.append({ metric_id: 1n, fingerprint: 1n, timestamp: NOW - day * DAY_MS, value: day });
    await bus.publish(on("telemetry.metrics", [builder.finish({ producer: `${HOST}/m`, sequence: 1 })]));
    await drain();
    expect((await dlq.list({})).letters).toMatchObject([{ reason: "late", rows: 110 }]);
    for (const by of ["ann", "bob"]) await dlq.replay(["telemetry.metrics.dlq/0/0"], { by, dryRun: false });
    await drain();
    expect(await engine.numbers("SELECT count(), uniqExact(value) FROM metric_samples")).toEqual([110, 110]);
  });

  it("are listed in pages, by topic and by reason", async () => {
    const { bus, dlq, drain } = await startWorld();
    const junk = (text: string) => Buffer.from(text);
    await bus.publish(on("telemetry.logs", [junk("a"), ofDays(1, [8]), junk("b"), junk("c")]));
    await bus.publish([{ topic: "telemetry.metrics.dlq", key: "x", value: junk("not ours") }]);
    await drain();
    const first = await dlq.list({ limit: 2 });
    const second = await dlq.list({ limit: 2, after: first.next ?? "" });
    const third = await dlq.list({ limit: 2, after: second.next ?? "" });
    expect([...first.letters, ...second.letters, ...third.letters].map(({ id }) => id)).toEqual([
      ...[0, 1, 2, 3].map((offset) => `telemetry.logs.dlq/0/${offset}`),
      expect.stringMatching(/^telemetry\.metrics\.dlq\/0\/0$/),
    ]);
    expect(third.next).toBeNull();
    expect((await dlq.list({ topic: "telemetry.metrics" })).letters).toMatchObject([{ reason: "unknown" }]);
    expect((await dlq.list({ topic: "telemetry.logs", reason: "malformed" })).letters).toHaveLength(3);
    expect(await dlq.show("telemetry.logs.dlq/0/99")).toBeNull();
    const { refused } = await dlq.replay(["telemetry.metrics.dlq/0/0", "telemetry.logs.dlq/0/99"], {
      by: "a",
      dryRun: false,
    });
    expect(refused.map(({ message }) => message)).toEqual([
      "its headers do not say where it comes from",
      "there is no such dead letter",
    ]);
  });

  it("that take too long to look through are listed piece by piece, and none is passed over", async () => {
    const { bus, drain } = await startWorld();
    await bus.publish(on("telemetry.logs", [...["a", "b", "c", "d"].map((text) => Buffer.from(text)), ofDays(1, [8])]));
    await drain();
    // So slow that each reading ends after two letters.
    const slow: Bus = {
      ...bare(bus),
      consume: (options) =>
        bus.consume({
          ...options,
          open: async (partition) => {
            const handler = await options.open(partition);
            const receive = async (messages: readonly BusMessage[], endOffset: number) => {
              await handler.receive(messages.slice(0, 2), endOffset);
              if (messages.length > 2)
                await new Promise((resolve) => partition.signal.addEventListener("abort", resolve));
            };
            return { ...handler, receive };
          },
        }),
    };
    const dlq = createDeadLetters({ bus: slow, log: silent, name: "slow", scanMs: 2_000 });
    const pages = [];
    for (let after: string | undefined, page = 0; page < 5; page += 1) {
      const { letters, next } = await dlq.list({ topic: "telemetry.logs", reason: "late", after });
      pages.push([letters.map(({ id }) => id), next]);
      if (next === null) break;
      after = next;
    }
    expect(pages).toEqual([
      [[], "telemetry.logs.dlq/0/1"],
      [[], "telemetry.logs.dlq/0/3"],
      [["telemetry.logs.dlq/0/4"], null],
    ]);
  });

  it("on a bus that does not answer are an error within the time of a reading, and the API says of what", async () => {
    const { bus } = await startWorld();
    const away: Bus = { ...bare(bus), lag: () => new Promise(() => undefined) };
    const dlq = createDeadLetters({ bus: away, log: silent, name: "away", scanMs: 100 });
    await expect(dlq.list({})).rejects.toMatchObject({ code: "unreachable", retryable: true });
    const { body, code } = await askApi(dlq, { url: "/api/v1/dlq", headers: { host: "localhost" } });
    expect([code, body]).toEqual([504, expect.stringContaining("the bus did not give the dead letters in time")]);
  });

  it("that the bus will never take do not keep the others back, and the log names those that were sent", async () => {
    const { bus, dlq, drain, told } = await startWorld();
    await bus.publish(on("telemetry.logs", [ofDays(1, [0, 8])]));
    await drain();
    const headers = { source_partition: "0", source_offset: "0", reason: "malformed", at_unix_ms: String(NOW) };
    const letter = { topic: "telemetry.logs.dlq", key: HOST, partition: 0, value: Buffer.from("junk") };
    await bus.publish([
      { ...letter, headers: { ...headers, source_topic: "long.gone", detail: "" } },
      { ...letter, headers: { ...headers, source_topic: "telemetry.logs", detail: "cut to 4 of 900000 bytes; bad" } },
    ]);
    const ids = (await dlq.list({})).letters.map(({ id }) => id);
    const { replayed, refused } = await dlq.replay(ids, { by: "ann", dryRun: false });
    expect(replayed.map(({ id }) => id)).toEqual([ids[0]]);
    expect(refused.map(({ id, message }) => [id, message.slice(0, 20)])).toEqual([
      [ids[2], "it holds the beginni"],
      [ids[1], "the bus refuses it: "],
    ]);
    expect(told).toMatchObject([{ by: "ann", letter: ids[0], rows: 1 }]);
    await drain();
    expect(await stored()).toEqual(["of day 0", "of day 8"]);
  });

  it("are read and replayed over the API, the latter with the token alone", async () => {
    const { bus, dlq, drain } = await startWorld();
    await bus.publish(on("telemetry.logs", [ofDays(1, [0, 8])]));
    await drain();
    const api = apiOf(dlq);
    onTestFinished(() => api.close());
    const headers = { host: "localhost" };
    const list = await api.inject({ url: "/api/v1/dlq?reason=late", headers });
    expect(list.json()).toMatchObject({ letters: [{ id: "telemetry.logs.dlq/0/0", rows: 1 }], next: null });
    const letter = await api.inject({ url: "/api/v1/dlq/letter?id=telemetry.logs.dlq/0/0", headers });
    expect(letter.json()).toMatchObject({ content: { rows: [{ body: "of day 8" }] } });
    expect((await api.inject({ url: "/api/v1/dlq/letter?id=telemetry.logs.dlq/0/7", headers })).statusCode).toBe(404);
    const replay = {
      method: "POST",
      url: "/api/v1/dlq/replay",
      payload: { ids: ["telemetry.logs.dlq/0/0"], by: "ann" },
    } as const;
    expect((await api.inject({ ...replay, headers })).statusCode).toBe(401);
    const taken = await api.inject({ ...replay, headers: { ...headers, authorization: `Bearer ${TOKEN}` } });
    expect(taken.json()).toMatchObject({ replayed: [{ rows: 1 }], refused: [] });
    await drain();
    expect(await stored()).toEqual(["of day 0", "of day 8"]);
  });
});
