import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "vitest";
import { expectExactlyOnce, killLoop } from "./kill-loop.ts";

/** Short here; on request as long as you like: HOMEOSTAT_KILLS=50 npm test -- test/acceptance/kill-loop.test.ts */
const KILLS = Number(process.env.HOMEOSTAT_KILLS ?? 6);

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "homeostat-kill-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe("a platform that is killed at any moment", () => {
  test(`has every acknowledged record in the store exactly once after ${KILLS} kills under load`, async () => {
    expectExactlyOnce(await killLoop({ dir, kills: KILLS, config: "" }));
  }, 1_200_000);
});
