import { generateKeyPairSync } from "node:crypto";
import type { AuditRecord } from "@homeostat/schemas";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AuditEntry, ChainCheck, GENESIS, type Head, nextRecords } from "./chain.ts";

const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const stranger = generateKeyPairSync("ed25519").privateKey;

const nextRecord = (entry: AuditEntry, at: Parameters<typeof nextRecords>[1]): AuditRecord => {
  const [record] = nextRecords([entry], at);
  if (record === undefined) throw new Error("no record was made");
  return record;
};

const entryOf = (n: number): AuditEntry => ({
  at_unix_ms: n,
  who: "ann",
  what: "job.submitted",
  subject: `j${n}`,
  details: { n },
});

/** In batches of these sizes. */
const batchesOf = (sizes: readonly number[], key = privateKey): AuditRecord[] => {
  const records: AuditRecord[] = [];
  for (const size of sizes) {
    const entries = Array.from({ length: size }, (_, at) => entryOf(records.length + at + 1));
    records.push(...nextRecords(entries, { head: records.at(-1) ?? GENESIS, key }));
  }
  return records;
};

const chainOf = (count: number, key = privateKey): AuditRecord[] => {
  const records: AuditRecord[] = [];
  let head: Head = GENESIS;
  for (let index = 1; index <= count; index += 1) {
    const entry = { at_unix_ms: index, who: "ann", what: "job.submitted", subject: `j${index}`, details: { n: index } };
    const record = nextRecord(entry, { head, key });
    records.push(record);
    head = record;
  }
  return records;
};

const flawOf = (records: readonly unknown[], keys?: readonly string[]) => {
  const check = new ChainCheck([publicKey]);
  for (const [index, record] of records.entries()) {
    const key = keys?.[index] ?? String((record as AuditRecord | null)?.sequence);
    const flaw = check.next(record, key);
    if (flaw !== null) return flaw;
  }
  return check.end();
};

describe("the audit log's chain", () => {
  it("is whole as it was written", () => {
    expect(flawOf(chainOf(50))).toBeNull();
  });

  it("holds what cannot be said in canonical JSON, put right", () => {
    const record = nextRecord(
      { at_unix_ms: 1, who: "", what: "x", subject: "\ud800", details: {} },
      { head: GENESIS, key: privateKey },
    );
    expect(record).toMatchObject({ who: "unknown", subject: "\ufffd" });
    expect(flawOf([record])).toBeNull();
  });

  const change = (records: AuditRecord[], index: number, changes: Partial<AuditRecord>) =>
    records.map((record, at) => (at === index ? { ...record, ...changes } : record));

  it.each([
    { kind: "altered", tamper: (r: AuditRecord[]) => change(r, 2, { who: "eve" }), at: 3, flaw: /was altered/ },
    {
      kind: "altered deep inside",
      tamper: (r: AuditRecord[]) => change(r, 2, { details: { n: 4 } }),
      at: 3,
      flaw: /was altered/,
    },
    {
      kind: "left out",
      tamper: (r: AuditRecord[]) => r.toSpliced(2, 1),
      at: 3,
      flaw: /record 3 is missing: 4 follows 2/,
    },
    { kind: "left out at the beginning", tamper: (r: AuditRecord[]) => r.slice(1), at: 1, flaw: /record 1 is missing/ },
    {
      kind: "doubled, with a change",
      tamper: (r: AuditRecord[]) => r.toSpliced(2, 0, ...change(r, 1, { who: "eve" }).slice(1, 2)),
      at: 3,
      flaw: /record 2 comes again/,
    },
    {
      kind: "written a second time in its place, by us",
      tamper: (r: AuditRecord[]) =>
        r.toSpliced(2, 0, nextRecord(entryOf(9), { head: r[0] ?? GENESIS, key: privateKey })),
      at: 3,
      flaw: /record 2 comes again/,
    },
    { kind: "swapped", tamper: (r: AuditRecord[]) => [r[0], r[2], r[1], r[3]], at: 2, flaw: /record 2 is missing/ },
    { kind: "no record", tamper: (r: AuditRecord[]) => [...r.slice(0, 2), null], at: 3, flaw: /cannot be read/ },
    {
      kind: "signed anew with a strange key",
      tamper: (r: AuditRecord[]) => [
        r[0],
        nextRecord(
          { at_unix_ms: 9, who: "eve", what: "x", subject: "", details: {} },
          { head: r[0] ?? GENESIS, key: stranger },
        ),
      ],
      at: 2,
      flaw: /signed by an unknown key/,
    },
    {
      kind: "under our key's name, and not signed by it",
      tamper: (r: AuditRecord[]) => change(r, 1, { signature: chainOf(2, stranger)[1]?.signature ?? "" }),
      at: 2,
      flaw: /signature of record 2 is wrong/,
    },
    {
      kind: "of another chain",
      tamper: (r: AuditRecord[]) => [
        r[0],
        nextRecord(
          { at_unix_ms: 9, who: "ann", what: "x", subject: "", details: {} },
          { head: { sequence: 1, sha256: "1".repeat(64) }, key: privateKey },
        ),
      ],
      at: 2,
      flaw: /does not follow record 1/,
    },
  ])("$kind is found", ({ tamper, at, flaw }) => {
    expect(flawOf(tamper(chainOf(4)))).toMatchObject({ at_sequence: at, flaw: expect.stringMatching(flaw) });
  });

  it("has one signature for all records of a publish, and is whole", () => {
    const records = batchesOf([3, 1, 2]);
    expect(records.map(({ signature }) => signature !== "")).toEqual([false, false, true, true, false, true]);
    expect(flawOf(records)).toBeNull();
  });

  it("is whole, and no longer, when publishes stand there twice, as a bus leaves them that was asked again", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.nat(3)), { maxLength: 8 }), (publishes) => {
        const once = batchesOf(publishes.map(([size]) => size));
        let at = 0;
        const onBus = publishes.flatMap(([size, repetitions]) => {
          const batch = once.slice(at, at + size);
          at += size;
          return Array.from({ length: repetitions + 1 }, () => batch).flat();
        });
        const check = new ChainCheck([publicKey]);
        for (const record of onBus) expect(check.next(record, String(record.sequence))).toBeNull();
        expect(check.end()).toBeNull();
        expect(check.head.sequence).toBe(once.length);
      }),
    );
  });

  const unsignedBehind = (records: readonly AuditRecord[]): AuditRecord[] =>
    nextRecords([entryOf(98), entryOf(99)], { head: records.at(-1) ?? GENESIS, key: privateKey }).slice(0, 1);

  it.each([
    {
      kind: "cut off before its signature",
      tamper: (r: AuditRecord[]) => r.slice(0, 2),
      at: 1,
      flaw: /nobody vouches/,
    },
    {
      kind: "followed by one that nobody signed",
      tamper: (r: AuditRecord[]) => [...r, ...unsignedBehind(r)],
      at: 5,
      flaw: /nobody vouches/,
    },
    {
      kind: "continued behind one that nobody signed",
      tamper: (r: AuditRecord[]) => {
        const slipped = [...r, ...unsignedBehind(r)];
        return [...slipped, ...nextRecords([entryOf(6)], { head: slipped.at(-1) ?? GENESIS, key: privateKey })];
      },
      at: 6,
      flaw: /vouches for 1 records, where 2 end/,
    },
    {
      kind: "altered where it is not signed",
      tamper: (r: AuditRecord[]) => change(r, 0, { who: "eve" }),
      at: 1,
      flaw: /was altered/,
    },
    {
      kind: "with a signature taken out",
      tamper: (r: AuditRecord[]) => change(r, 2, { signature: "" }),
      at: 3,
      flaw: /signature of record 3 is wrong/,
    },
    {
      kind: "signed by a stranger as one publish",
      tamper: () => batchesOf([2], stranger),
      at: 2,
      flaw: /unknown key/,
    },
  ])("of publishes signed together, $kind is found", ({ tamper, at, flaw }) => {
    expect(flawOf(tamper(batchesOf([3, 1])))).toMatchObject({ at_sequence: at, flaw: expect.stringMatching(flaw) });
  });

  it("under another key than its number is found", () => {
    expect(flawOf(chainOf(2), ["1", "7"])).toMatchObject({
      at_sequence: 2,
      flaw: expect.stringMatching(/under the key "7"/),
    });
  });

  it("with any one value altered is found", () => {
    const records = chainOf(5);
    fc.assert(
      fc.property(
        fc.nat(4),
        fc.constantFrom("at_unix_ms", "who", "what", "subject", "previous_sha256", "sha256", "key_id"),
        (index, field) => {
          const before = records[index]?.[field];
          const after =
            typeof before === "number"
              ? before + 1
              : String(before).replace(/.$/, (last) => (last === "0" ? "1" : "0"));
          expect(flawOf(change(records, index, { [field]: after }))).not.toBeNull();
        },
      ),
    );
  });
});
