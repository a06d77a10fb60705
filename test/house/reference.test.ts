import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { fieldNotes } from "../../docs/field-notes.ts";
import { fieldsOf } from "../../docs/field-rows.ts";

const folder = mkdtempSync(join(tmpdir(), "homeostat-notes-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("the fields of a schema", () => {
  const Port = z.int().min(0).max(65_535);
  const Bus = z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("embedded"), bytes_max: z.int().min(1).default(5) }),
    z.strictObject({ kind: z.literal("kafka"), brokers: z.array(z.string()).min(1) }),
  ]);
  const Whole = z.strictObject({
    port: Port,
    bus: Bus.prefault({ kind: "embedded" }),
    hosts: z.array(z.strictObject({ name: z.string().max(9) })).default([]),
    anything: z.json(),
    maybe: z.number().nullable(),
    secret: z.union([z.strictObject({ file: z.string() }), z.strictObject({ env: z.string() })]),
  });
  const fields = fieldsOf(
    new Map<string, z.ZodType>([
      ["Port", Port],
      ["Whole", Whole],
    ]),
    "input",
  );
  const rows = Object.fromEntries((fields.get("Whole")?.rows ?? []).map((row) => [row.path, row]));

  it("links to a schema that has a section of its own", () => {
    expect(rows.port?.type).toBe("[Port](#port)");
    expect(fields.get("Port")?.type).toBe("integer (≥ 0, ≤ 65535)");
  });

  it("tells which variant of a union a field belongs to", () => {
    expect(rows["bus.kind"]).toMatchObject({ type: '"embedded" or "kafka"', variants: [] });
    expect(rows["bus.brokers"]).toMatchObject({ type: "list of string (items ≥ 1)", variants: ['kind "kafka"'] });
    expect(rows["bus.bytes_max"]).toMatchObject({ defaultJson: "5", isRequired: false });
  });

  it("does not call a field required that only some choices have", () => {
    expect(rows.secret?.isRequired).toBe(true);
    expect(rows["secret.file"]?.isRequired).toBe(false);
    expect(rows["bus.brokers"]?.isRequired).toBe(true);
  });

  it("goes into lists", () => {
    expect(rows["hosts[].name"]?.type).toBe("string (length ≤ 9)");
    expect(rows.hosts).toMatchObject({ defaultJson: "[]", isRequired: false });
  });

  it("names what may be null, and what may be anything", () => {
    expect(rows.maybe?.type).toBe("number or null");
    expect(rows.anything?.type).toBe("any JSON");
  });
});

describe("the notes on a schema's fields", () => {
  const write = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };

  it("are the comments in its source, found through re-exports, lists and other constants", () => {
    write(
      "spool.ts",
      `/** Where batches wait. */
       const Spool = z.strictObject({
         /** The oldest gives way. */
         bytes_max: z.int().default(5),
       });
       /** Has a section of its own. */
       export const Known = z.string();
       /** The agent. */
       export const AgentConfig = z.strictObject({
         spool: Spool.prefault({ bytes_max: 3 }),
         known: Known,
         logs: z.array(z.strictObject({
           /** A file. */
           path: z.string(),
         })).max(3),
       }).superRefine((config) => check(config));`,
    );
    const index = write("index.ts", `export { AgentConfig } from "./spool.ts";`);
    expect(Object.fromEntries(fieldNotes(index, "AgentConfig"))).toEqual({
      "": "The agent.",
      spool: "Where batches wait.",
      "spool.bytes_max": "The oldest gives way.",
      "logs[].path": "A file.",
    });
  });

  it("are none for what is not there", () => {
    expect(fieldNotes(write("empty.ts", ""), "AgentConfig").size).toBe(0);
  });
});
