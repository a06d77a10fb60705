import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { simulate } from "./simulate.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "homeostat-simulate-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const run = (servers: string): Promise<number> => {
  const nothing = () => undefined;
  const input = { env: {}, signal: new AbortController().signal, onHangup: nothing, out: nothing, err: nothing };
  return simulate({ ...input, args: ["--agents", "2", "--servers", servers, "--dir", dir] });
};

describe("virtual agents that cannot enrol", () => {
  it("end the simulation, and are not waited for in silence", async () => {
    await expect(run("127.0.0.1:1")).rejects.toThrow(
      /^Error: sim-0000\d has no identity, and there is no token to enrol it with$/,
    );
  }, 30_000);

  it("are not begun for a server that is none", async () => {
    await expect(run("site-1")).rejects.toThrow("--servers site-1: want HOST:PORT[,…]");
  });
});
