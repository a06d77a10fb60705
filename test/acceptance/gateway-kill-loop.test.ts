import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "vitest";
import { expectAcknowledgedOnce, gatewayKillLoop } from "./gateway-kill-loop.ts";

/** Short here; on request as long as you like: HOMEOSTAT_KILLS=50 npm test -- test/acceptance/gateway-kill-loop.test.ts */
const KILLS = Number(process.env.HOMEOSTAT_KILLS ?? 6);

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "homeostat-gateway-kill-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe("a platform that is killed while senders post to its receivers", () => {
  test(`has every acknowledged record in the store after ${KILLS} kills, doubled only what a kill cut off before its answer`, async () => {
    expectAcknowledgedOnce(await gatewayKillLoop({ dir, kills: KILLS }));
  }, 1_200_000);
});
