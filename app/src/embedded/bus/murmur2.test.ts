import { createRequire } from "node:module";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { murmur2, partitionOfKey } from "./murmur2.ts";

describe("murmur2", () => {
  // org.apache.kafka.common.utils.UtilsTest#testMurmur2
  it.each([
    ["21", -973932308],
    ["foobar", -790332482],
    ["a-little-bit-long-string", -985981536],
    ["a-little-bit-longer-string", -1486304829],
    ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
    ["abc", 479470107],
  ])("hashes %s as Kafka's own test expects", (text, hash) => {
    expect(murmur2(Buffer.from(text))).toBe(hash);
  });

  it("agrees with kafkajs on any bytes", () => {
    const reference = createRequire(import.meta.url)("kafkajs/src/producer/partitioners/default/murmur2.js") as (
      key: Buffer,
    ) => number;
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), (bytes) => {
        expect(murmur2(bytes)).toBe(reference(Buffer.from(bytes)));
      }),
    );
  });

  it("gives every key a partition that exists", () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 1, max: 1000 }), (key, partitions) => {
        const partition = partitionOfKey(key, partitions);
        expect(partition >= 0 && partition < partitions).toBe(true);
      }),
    );
  });
});
