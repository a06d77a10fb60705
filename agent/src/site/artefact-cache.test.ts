import { describe, expect, test } from "vitest";
import { CHUNK_BYTES_MAX } from "../channel/frame.ts";
import { ArtefactCache } from "./artefact-cache.ts";

const cacheOf = (bytesMax: number) => {
  const reads: string[] = [];
  const cache = new ArtefactCache({
    bytesMax,
    read: async (sha256, offset, length) => {
      reads.push(`${sha256}@${offset / length}`);
      if (sha256 === "missing") throw new Error("there is none");
      return Buffer.alloc(length, sha256);
    },
  });
  return { cache, reads };
};

describe("the cache of artefacts", () => {
  test("asks once, however many ask for the same at a time", async () => {
    const { cache, reads } = cacheOf(10 * CHUNK_BYTES_MAX);
    const found = await Promise.all(Array.from({ length: 100 }, () => cache.read("a", 10, 20)));
    expect(found.every((bytes) => bytes.equals(Buffer.alloc(20, "a")))).toBe(true);
    expect(reads).toEqual(["a@0"]);
  });

  test("holds no more than its cap, and what was used longest ago gives way", async () => {
    const { cache, reads } = cacheOf(2 * CHUNK_BYTES_MAX);
    for (const name of ["a", "b", "a", "c", "a", "b"]) {
      await cache.read(name, 0, 1);
      expect(cache.bytes).toBeLessThanOrEqual(2 * CHUNK_BYTES_MAX);
    }
    expect(reads).toEqual(["a@0", "b@0", "c@0", "b@0"]);
  });

  test("does not remember a failure", async () => {
    const { cache, reads } = cacheOf(CHUNK_BYTES_MAX);
    await expect(cache.read("missing", 0, 1)).rejects.toThrow("there is none");
    await expect(cache.read("missing", 0, 1)).rejects.toThrow("there is none");
    expect(reads).toHaveLength(2);
    expect(cache.bytes).toBe(0);
  });
});
