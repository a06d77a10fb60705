import { createRequire } from "node:module";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { crc32c, mendChecksum } from "./kafkajs-checksum.ts";

const require = createRequire(import.meta.url);
const theirs = require("kafkajs/src/protocol/recordBatch/crc32C/crc32C.js") as (bytes: Uint8Array) => number;

describe("crc32c", () => {
  it("has the check value of the catalogue of parametrised CRC algorithms", () => {
    expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
  });

  it("is kafkajs's own for bytes of every length, wherever they begin", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(20), (bytes, from) => {
        const view = bytes.subarray(Math.min(from, bytes.length));
        expect(crc32c(view)).toBe(theirs(view));
      }),
    );
  });

  it("stands where kafkajs looks for its checksum, once mended", () => {
    mendChecksum();
    expect(require("kafkajs/src/protocol/recordBatch/crc32C/index.js")).toBe(crc32c);
  });
});
