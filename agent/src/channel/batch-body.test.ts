import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BATCH_TOPICS, batchParts, readBatches } from "./batch-body.ts";

const Batches = fc.array(
  fc.record({
    topic: fc.constantFrom(...BATCH_TOPICS),
    value: fc.uint8Array({ maxLength: 50 }).map((v) => Buffer.from(v)),
  }),
);

describe("a body of batches", () => {
  test("is read as it was written", () => {
    fc.assert(
      fc.property(Batches, (batches) => {
        expect(readBatches(Buffer.concat(batchParts(batches)))).toEqual(batches);
      }),
    );
  });

  test("that is cut short or made of anything is malformed, never misread past its end", () => {
    fc.assert(
      fc.property(Batches, fc.nat(), fc.uint8Array({ maxLength: 40 }), (batches, cut, noise) => {
        const body = Buffer.concat(batchParts(batches));
        const short = readBatches(body.subarray(0, body.length === 0 ? 0 : cut % body.length));
        if (short !== null) expect(batches.slice(0, short.length)).toEqual(short);
        const read = readBatches(Buffer.from(noise));
        if (read !== null) expect(Buffer.concat(batchParts(read))).toEqual(Buffer.from(noise));
      }),
    );
  });

  test("takes telemetry only", () => {
    expect(() => batchParts([{ topic: "audit", value: Buffer.alloc(1) }])).toThrow("the channel takes no audit");
    expect(readBatches(Buffer.from([2, 0, 0, 0, 0]))).toBeNull();
  });
});
