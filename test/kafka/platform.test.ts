import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "vitest";
import { expectExactlyOnce, killLoop } from "../acceptance/kill-loop.ts";

const brokers = (process.env.KAFKA_BROKERS ?? "").split(",");
const KILLS = Number(process.env.HOMEOSTAT_KILLS ?? 3);

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "homeostat-kafka-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe("a platform on Apache Kafka that is killed at any moment", () => {
  test(`has every acknowledged record in the store exactly once after ${KILLS} kills under load`, async () => {
    const config = `bus: { kind: kafka, brokers: ${JSON.stringify(brokers)} }\n`;
    expectExactlyOnce(await killLoop({ dir, kills: KILLS, config }));
  }, 600_000);
});
