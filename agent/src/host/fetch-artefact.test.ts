import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type FetchPiece, fetchArtefact } from "./fetch-artefact.ts";
import { LinkError } from "./link.ts";

const bytes = randomBytes(600_000);
const release = { sha256: createHash("sha256").update(bytes).digest("hex"), size_bytes: bytes.length };
const serve: FetchPiece = async (_, offset, length) => bytes.subarray(offset, offset + length);

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "homeostat-fetch-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const fetchWith = (fetch: FetchPiece, signal = new AbortController().signal) =>
  fetchArtefact(join(dir, "artefact"), release, { fetch, signal, retryMs: 0, random: () => 0 });

describe("an artefact", () => {
  it("is on the disk as it was published", async () => {
    expect(await fetchWith(serve)).toBeNull();
    expect(readFileSync(join(dir, "artefact")).equals(bytes)).toBe(true);
  });

  it("goes on where a busy or dying server left it, without asking twice for what came", async () => {
    const asked: number[] = [];
    const failures = new Map([
      [262_144, 3],
      [524_288, 4],
    ]);
    const fetch: FetchPiece = async (sha256, offset, length) => {
      const left = failures.get(offset) ?? 0;
      failures.set(offset, left - 1);
      if (left > 0) throw new LinkError("unreachable", "the channel broke");
      asked.push(offset);
      return serve(sha256, offset, length);
    };
    expect(await fetchWith(fetch)).toBeNull();
    expect(asked).toEqual([0, 262_144, 524_288]);
  });

  it("is given up after five tries of one piece, and at once when there is no such artefact", async () => {
    let tries = 0;
    const failWith = (code: LinkError["code"]) => async () => {
      tries += 1;
      throw new LinkError(code, "no");
    };
    expect(await fetchWith(failWith("unreachable"))).toMatchObject({ outcome: "unavailable" });
    expect(tries).toBe(5);
    rmSync(join(dir, "artefact"));
    expect(await fetchWith(failWith("refused"))).toMatchObject({ outcome: "unavailable" });
    expect(tries).toBe(6);
  });

  it("is corrupt when a byte or the length of a piece is wrong", async () => {
    const altered: FetchPiece = async (sha256, offset, length) => {
      const piece = Buffer.from(await serve(sha256, offset, length));
      if (offset > 0) piece[7] = (piece[7] ?? 0) ^ 1;
      return piece;
    };
    expect(await fetchWith(altered)).toMatchObject({ outcome: "corrupt" });
    rmSync(join(dir, "artefact"));
    const short: FetchPiece = async (_, offset, length) => bytes.subarray(offset, offset + length - 1);
    expect(await fetchWith(short)).toMatchObject({
      outcome: "corrupt",
      detail: expect.stringContaining("were asked for"),
    });
  });

  it("is left as soon as it is wanted no longer", async () => {
    const wanted = new AbortController();
    const hangs: FetchPiece = () => {
      wanted.abort();
      return new Promise(() => undefined);
    };
    expect(await fetchWith(hangs, wanted.signal)).toMatchObject({ outcome: "unavailable" });
  });
});
