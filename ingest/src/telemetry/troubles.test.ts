import { BatchBuilder, type BusMessage, decodeHeader, type Finding } from "@homeostat/schemas";
import { describe, expect, it } from "vitest";
import type { DeadReason } from "../ingest-counts.ts";
import type { Dead } from "./triage.ts";
import { TelemetryTroubles } from "./troubles.ts";

const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

const world = () => {
  const state = { now: 1_000_000, isDown: false };
  const findings: Finding[] = [];
  const troubles = new TelemetryTroubles({
    host: "edge-1",
    now: () => state.now,
    log: quiet,
    reportFinding: async (finding) => {
      if (state.isDown) throw new Error("down");
      findings.push(finding);
    },
  });
  const told = () => findings.splice(0).map(({ rule, state: is, labels }) => [rule, is, labels.batches, labels.rows]);
  return { state, troubles, findings, told };
};

const builder = new BatchBuilder("metric_samples");
builder.append({ metric_id: 1n, fingerprint: 1n, timestamp: 1, value: 0 });
const HEADER = decodeHeader(builder.finish({ producer: "web-1/a", sequence: 1 }));

const dead = (reason: DeadReason, rows = 3, producer = "web-1/a"): Dead => {
  const message: BusMessage = {
    ...{
      topic: "telemetry.metrics",
      partition: 0,
      offset: 7,
      key: "web-1",
      value: null,
      headers: {},
      timestampUnixMs: 0,
    },
  };
  const header = { ...HEADER, row_count: rows, producer };
  return { kind: "dead", message, value: null, header, reason, detail: "it is broken" };
};

describe("troubles of telemetry", () => {
  it("are told at once, once a minute while they last, and when they have been over for five minutes", async () => {
    const { state, troubles, told, findings } = world();
    troubles.seen("telemetry.metrics", [dead("malformed")]);
    await troubles.tell();
    expect(findings[0]?.summary).toContain("The first: offset 7: malformed: it is broken");
    expect(findings[0]).toMatchObject({
      category: "data_health",
      labels: { topic: "telemetry.metrics", from: "web-1/a" },
    });
    expect(told()).toEqual([["telemetry_malformed", "firing", "1", "3"]]);
    state.now += 59_999;
    troubles.seen("telemetry.metrics", [dead("wrong_schema"), dead("malformed")]);
    await troubles.tell();
    expect(told()).toEqual([]);
    state.now += 1;
    await troubles.tell();
    expect(told()).toEqual([["telemetry_malformed", "firing", "3", "9"]]);
    state.now += 299_999;
    await troubles.tell();
    expect(told()).toEqual([["telemetry_malformed", "resolved", "3", "9"]]);
    state.now += 600_000;
    await troubles.tell();
    expect(told()).toEqual([]);
  });

  it("of rows outside the fences are told in bulk alone", async () => {
    const { troubles, told } = world();
    troubles.seen("telemetry.metrics", [dead("late", 999)]);
    await troubles.tell();
    expect(told()).toEqual([]);
    troubles.seen("telemetry.metrics", [dead("future", 1)]);
    await troubles.tell();
    expect(told()).toEqual([["telemetry_outside_fences", "firing", "2", "1000"]]);
  });

  it("that cannot be told are told later, beginning and end", async () => {
    const { state, troubles, told } = world();
    state.isDown = true;
    troubles.expired("telemetry.logs", 1, 40);
    await troubles.tell();
    state.now += 400_000;
    await troubles.tell();
    state.isDown = false;
    await troubles.tell();
    expect(told()).toEqual([
      ["telemetry_expired", "firing", "40", "0"],
      ["telemetry_expired", "resolved", "40", "0"],
    ]);
  });

  it("of very many senders are capped", async () => {
    const { troubles, findings } = world();
    for (let sender = 0; sender < 1000; sender += 1)
      troubles.seen("telemetry.metrics", [dead("refused", 1, `h-${sender}/a`)]);
    await expect.poll(() => findings.length).toBe(200);
    await troubles.tell();
    expect(findings).toHaveLength(200);
  });
});
