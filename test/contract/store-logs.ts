import { zstdCompressSync } from "node:zlib";
import { beforeAll, describe, expect, it } from "vitest";
import { logHistogram, logResources, logSearch, type Store, traceLogs } from "../../analytics/src/index.ts";
import { BatchBuilder } from "../../schemas/src/index.ts";
import { AROUND, logBatch, NOON } from "./store-rows.ts";

interface Setting {
  readonly store: Store;
  ask<T>(query: string, params?: Record<string, unknown>): Promise<T[]>;
}

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const RESOURCE = 0x00ff_0000_0000_0011n;

const lines = [
  { body: "Payment REFUSED by db-01: it's a 'quoted' \\ line", atMs: NOON + 1000, severity: 17, trace: TRACE },
  { body: "payment accepted", atMs: NOON + 2000, resource: RESOURCE },
  { body: "refused again: ÄRGER mit Öl", atMs: NOON + 61_000, severity: 13, trace: TRACE, resource: RESOURCE },
].map((line) => ({ ...line, service: "pay" }));

const insertLogs = async (store: Store): Promise<void> => {
  const resources = new BatchBuilder("log_resources");
  const attributes = { "service.name": "pay", "k8s.pod.name": "pay-7f" };
  resources.append({ resource_id: RESOURCE, seen_at: NOON, host_name: "host-1", service_name: "pay", attributes });
  const frames = [resources.finish({ producer: "host-1/logs", sequence: 1 })];
  await store.insertNative({ table: "log_resources", frames, dedupToken: "pay", rowCount: 1 });
  await store.insertNative({ table: "logs", frames: [logBatch(lines)], dedupToken: "pay", rowCount: lines.length });
};

/** The same for either index on words. */
export const describeLogQueries = (setting: () => Setting): void => {
  describe("logs", () => {
    beforeAll(() => insertLogs(setting().store));
    const pay = { ...AROUND, service_name: "pay" };
    const bodies = async (params: object) =>
      (await setting().store.run(logSearch, { ...pay, ...params })).map(({ body }) => body.slice(0, 15));
    const plan = async (query: { sql: string; params: { parse(value: unknown): unknown } }, params: object) => {
      const found = await setting().ask<{ explain: string }>(
        `EXPLAIN indexes = 1 ${query.sql}`,
        query.params.parse(params) as Record<string, unknown>,
      );
      return found.map(({ explain }) => explain).join("\n");
    };

    it("are found newest first, by words in any case and order", async () => {
      expect(await bodies({})).toEqual(["refused again: ", "payment accepte", "Payment REFUSED"]);
      expect(await bodies({ text: "refused" })).toHaveLength(2);
      expect(await bodies({ text: "REFUSED payment" })).toEqual(["Payment REFUSED"]);
      expect(await bodies({ text: "db-01" })).toHaveLength(1);
      expect(await bodies({ text: "refus" })).toEqual([]);
      expect(await bodies({ text: "mit Öl" })).toHaveLength(1);
      expect(await bodies({ severity_min: 17 })).toHaveLength(1);
      expect(await bodies({ severity_text: "error" })).toHaveLength(1);
      expect(await bodies({ limit: 1 })).toEqual(["refused again: "]);
      expect(await bodies({ text: "'; DROP TABLE logs; --" })).toEqual([]);
    });

    it("are refused more words than there are conditions, with the number", async () => {
      const text = Array.from({ length: 17 }, (_, i) => `w${i}`).join(" ");
      await expect(bodies({ text })).rejects.toThrow("want at most 16 different words");
    });

    it("are searched through the index on words", async () => {
      expect(await plan(logSearch, { ...pay, text: "refused payment" })).toMatch(/Skip\W+Name: body_words/);
      expect(await plan(logSearch, pay)).not.toContain("body_words");
    });

    it("are found by what their resource has, which is told beside them", async () => {
      expect(await bodies({ resource: { "k8s.pod.name": "pay-7f" } })).toEqual(["refused again: ", "payment accepte"]);
      expect(await bodies({ resource: { "k8s.pod.name": "pay-7f", "service.name": "shop" } })).toEqual([]);
      const [line] = await setting().store.run(logSearch, { ...pay, limit: 1 });
      const asked = { ...AROUND, resource_ids: [line?.resource_id ?? ""] };
      expect(await setting().store.run(logResources, asked)).toEqual([
        {
          resource_id: "00ff000000000011",
          host_name: "host-1",
          service_name: "pay",
          attributes: { "service.name": "pay", "k8s.pod.name": "pay-7f" },
        },
      ]);
    });

    it("of a trace are found whenever they were, in the order of their time, through the index on trace ids", async () => {
      const found = await setting().store.run(traceLogs, { trace_id: TRACE.toUpperCase() });
      expect(found.map(({ severity_text, trace_flags }) => [severity_text, trace_flags])).toEqual([
        ["ERROR", 1],
        ["INFO", 1],
      ]);
      expect(await plan(traceLogs, { trace_id: TRACE })).toMatch(/Skip\W+Name: trace_id_bloom/);
    });

    it("are counted by step and severity", async () => {
      expect(await setting().store.run(logHistogram, pay)).toEqual([
        { at_unix_ms: NOON, severity_number: 9, count: 1 },
        { at_unix_ms: NOON, severity_number: 17, count: 1 },
        { at_unix_ms: NOON + 60_000, severity_number: 13, count: 1 },
      ]);
    });

    it("of batches from before a column was there have its zero, beside batches that have it", async () => {
      const { store } = setting();
      const older = zstdCompressSync(olderBlock("from an older agent", BigInt(NOON) * 1_000_000n));
      const frames = [older, logBatch([{ body: "from a newer one", service: "old" }]), older];
      await store.insertNative({ table: "logs", frames, dedupToken: "older", rowCount: 3 });
      const found = await store.run(logSearch, { ...AROUND, service_name: "old" });
      expect(found.map(({ body, scope_name }) => [body, scope_name]).sort()).toEqual([
        ["from a newer one", "shop.log"],
        ["from an older agent", ""],
        ["from an older agent", ""],
      ]);
    });
  });
};

/** One row in Native format without the columns that came later. */
const olderBlock = (body: string, timestampNs: bigint): Buffer => {
  const text = (value: string) => Buffer.concat([Buffer.from([Buffer.byteLength(value)]), Buffer.from(value)]);
  const time = Buffer.alloc(8);
  time.writeBigInt64LE(timestampNs);
  const columns: readonly (readonly [string, string, Buffer])[] = [
    ["timestamp", "DateTime64(9)", time],
    ["severity_number", "UInt8", Buffer.from([9])],
    ["service_name", "String", text("old")],
    ["host_name", "String", text("host-1")],
    ["trace_id", "String", text("")],
    ["span_id", "String", text("")],
    ["body", "String", text(body)],
    ["attributes", "Map(String, String)", Buffer.alloc(8)],
  ];
  const cells = columns.flatMap(([name, type, cell]) => [text(name), text(type), cell]);
  return Buffer.concat([Buffer.from([columns.length, 1]), ...cells]);
};
