import { BatchBuilder, BusError } from "@homeostat/schemas";
import { expect, test } from "vitest";
import { batchParts } from "../channel/batch-body.ts";
import { quietLog } from "../host/quiet-log.fixture.ts";
import { BatchIntake } from "./batch-intake.ts";

const bodyOf = (host: string): Buffer => {
  const builder = new BatchBuilder("metric_samples");
  builder.append({ metric_id: 1n, fingerprint: 2n, timestamp: 1_700_000_000_000, value: 1 });
  const value = builder.finish({ producer: `${host}/1`, sequence: 1 });
  return Buffer.concat(batchParts([{ topic: "telemetry.metrics", value }]));
};

test("a bus that is down has one line in the log, however many agents meet it, and one more when it is down again", async () => {
  const warned: object[] = [];
  let isDown = true;
  const intake = new BatchIntake({
    publish: async () => {
      if (isDown) throw new BusError("unreachable", "the bus is away", { retryable: true });
    },
    inFlightBytesMax: 1_048_576,
    log: { ...quietLog, warn: (fields) => warned.push(fields) },
  });
  const round = () => Promise.all(Array.from({ length: 50 }, (_, at) => intake.take(`web-${at}`, bodyOf(`web-${at}`))));
  expect((await round()).every(({ status }) => status === "busy")).toBe(true);
  await round();
  expect(warned).toHaveLength(1);
  isDown = false;
  expect((await round()).every(({ status }) => status === "taken")).toBe(true);
  isDown = true;
  await round();
  expect(warned).toHaveLength(2);
});
