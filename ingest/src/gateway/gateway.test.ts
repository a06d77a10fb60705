import { createHash } from "node:crypto";
import { BusError, decodeHeader, MESSAGE_BYTES_MAX } from "@homeostat/schemas";
import { describe, expect, it } from "vitest";
import { NOW, record, resource, series, startGateway, unreachable } from "./gateway.fixture.ts";
import type { Submission } from "./intake.ts";
import { RECORD_BYTES_MAX } from "./record-size.ts";

const HOUR_MS = 3_600_000;
const request = { sender: "shipper", receiver: "otlp", bytes: 0 };

const admitted = (submission: Submission | null): Submission => {
  if (submission === null) throw new Error("there is no room");
  return submission;
};

/** Text that zstd cannot make smaller than seven eighths. */
const noise = (length: number, seed = 42): string => {
  const bytes = createHash("shake256", { outputLength: length }).update(String(seed)).digest();
  return Buffer.from(bytes.map((byte) => byte & 0x7f)).toString("latin1");
};

const settled = async (promise: Promise<unknown>): Promise<boolean> => {
  const pending = Symbol();
  await new Promise((resolve) => setImmediate(resolve));
  return (await Promise.race([promise.then(Boolean, Boolean), pending])) !== pending;
};

describe("a commit", () => {
  it("is never acknowledged before the bus has the rows", async () => {
    const { gateway, bus } = startGateway();
    const taken = Promise.withResolvers<void>();
    bus.fault = () => taken.promise;
    const submission = admitted(gateway.admit(request));
    submission.log(gateway.resource(resource()), record("hello"));
    const commit = submission.commit();
    expect(await settled(commit)).toBe(false);
    taken.resolve();
    await commit;
    expect(bus.bodies).toEqual(["hello"]);
  });

  it("repeats the same values and sequences, in order, until a failing bus has taken them once", async () => {
    const { gateway, bus, clock } = startGateway();
    const seen: string[] = [];
    bus.fault = (messages) => {
      seen.push(messages.map(({ value }) => Buffer.from(value ?? []).toString("base64")).join());
      if (seen.length < 50) unreachable();
    };
    const submission = admitted(gateway.admit(request));
    for (let row = 0; row < 10; row++) submission.log(gateway.resource(resource()), record(`row ${row}`));
    await submission.commit();
    expect(new Set(seen).size).toBe(1);
    expect(clock.nowUnixMs - NOW).toBeGreaterThan(60_000);
    expect(bus.bodies).toEqual(Array.from({ length: 10 }, (_, row) => `row ${row}`));
  });

  it("shares a batch with those that come at the same time, and keeps each host's order", async () => {
    const { gateway, bus } = startGateway({ lanes: 1, linger_ms: 5 });
    const commits = Array.from({ length: 20 }, (_, index) => {
      const submission = admitted(gateway.admit(request));
      submission.log(gateway.resource(resource()), record(`request ${index}`));
      return submission.commit();
    });
    await Promise.all(commits);
    expect(bus.batches.filter(({ schema }) => schema === "logs")).toHaveLength(1);
    expect(bus.bodies).toEqual(Array.from({ length: 20 }, (_, index) => `request ${index}`));
  });

  it("is told when the bus refuses for good, and what was told with it is told anew", async () => {
    const { gateway, bus } = startGateway();
    const ref = gateway.resource(resource());
    bus.fault = () => {
      throw new BusError("unknown_topic", "no such topic", { retryable: false });
    };
    const lost = admitted(gateway.admit(request));
    lost.log(ref, record("lost"));
    await expect(lost.commit()).rejects.toMatchObject({ code: "refused" });
    bus.fault = undefined;
    const kept = admitted(gateway.admit(request));
    kept.log(ref, record("kept"));
    await kept.commit();
    expect(bus.rowsOf("log_resources")).toBe(1);
    expect(gateway.status().topics["telemetry.logs"]).toEqual({
      produced: 4,
      delivered: 2,
      spooled: 0,
      dropped: { refused: 2 },
    });
  });

  it("is not refused for another's batch that the bus refuses in the same publish, and nothing is there twice", async () => {
    const { gateway, bus } = startGateway({ lanes: 1 });
    const open = Promise.withResolvers<void>();
    const send = (body: string): Promise<void> => {
      const submission = admitted(gateway.admit(request));
      // A whole batch of noise: it is finished at once, as a group of its own.
      for (let row = 0; row < 20; row++)
        submission.log(gateway.resource(resource()), record(`${body} ${noise(RECORD_BYTES_MAX - 1000, row)}`));
      return submission.commit();
    };
    let bad = 0;
    bus.fault = async (messages) => {
      await open.promise;
      const isBad = ({ value }: (typeof messages)[number]) => decodeHeader(value ?? Buffer.alloc(0)).sequence === 10;
      if (!messages.some(isBad)) return;
      bad++;
      throw new BusError("too_large", "too large", { retryable: false });
    };
    const outcomes = Promise.allSettled(["a", "b", "c", "d"].map(send));
    open.resolve();
    const statuses = (await outcomes).map(({ status }) => status);
    expect(bad).toBeGreaterThan(1);
    expect(statuses).toContain("rejected");
    expect(statuses).toContain("fulfilled");
    expect(new Set(bus.bodies).size).toBe(bus.bodies.length);
    const { produced = 0, delivered = 0, spooled, dropped } = gateway.status().topics["telemetry.logs"] ?? {};
    expect({ spooled, dropped }).toEqual({ spooled: 0, dropped: { refused: produced - delivered } });
    expect(delivered).toBe(bus.rowsOf("logs") + bus.rowsOf("log_resources"));
    expect(gateway.status().heldBytes).toBe(0);
  });

  it("carries batches that cannot be compressed in messages that the bus takes", async () => {
    const { gateway, bus } = startGateway({ lanes: 1 });
    const submission = admitted(gateway.admit(request));
    const bodies = Array.from({ length: 20 }, (_, row) => noise(RECORD_BYTES_MAX - 1000, row));
    for (const body of bodies) expect(submission.log(gateway.resource(resource()), record(body))).toBeNull();
    await submission.commit();
    expect(bus.bodies).toEqual(bodies);
    const sizes = bus.messages.map(({ value }) => value?.length ?? 0);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(MESSAGE_BYTES_MAX);
    const sequences = bus.messages.map(({ value }) => decodeHeader(value ?? Buffer.alloc(0)).sequence);
    expect(sequences).toEqual(sequences.toSorted((a, b) => a - b));
    expect(new Set(sequences).size).toBe(sequences.length);
  });

  it("of a gateway that stops while the bus is down is refused, and the account closes", async () => {
    const { gateway, bus } = startGateway();
    bus.fault = unreachable;
    const submission = admitted(gateway.admit(request));
    submission.sample(gateway.series(series("up")), NOW, 1);
    const commit = submission.commit();
    const stopped = gateway.stop();
    bus.fault = () => {
      throw new BusError("stopped", "the bus stops", { retryable: false });
    };
    await expect(commit).rejects.toThrow();
    await stopped;
    const { produced, dropped, spooled } = gateway.status().topics["telemetry.metrics"] ?? {};
    expect({ produced, dropped, spooled }).toEqual({ produced: 2, dropped: { refused: 2 }, spooled: 0 });
    expect(gateway.admit(request)).toBeNull();
  });
});

describe("a lane", () => {
  it("takes the same host to the same key, whichever gateway it comes to", async () => {
    const keys = await Promise.all(
      [0, 1].map(async () => {
        const { gateway, bus } = startGateway();
        const submission = admitted(gateway.admit(request));
        for (let host = 0; host < 30; host++) submission.log(gateway.resource(resource(`web-${host}`)), record("x"));
        await submission.commit();
        return bus.messages
          .filter(({ value }) => decodeHeader(value ?? Buffer.alloc(0)).schema === "logs")
          .map(({ key, value }) => `${key}: ${decodeHeader(value ?? Buffer.alloc(0)).row_count}`)
          .sort();
      }),
    );
    expect(keys[0]).toEqual(keys[1]);
    expect(keys[0]).toHaveLength(4);
  });

  it("tells what rows refer to before them, and anew every ten minutes", async () => {
    const { gateway, bus, clock } = startGateway();
    const ref = gateway.series(series("up"));
    for (const minute of [0, 5, 10]) {
      clock.nowUnixMs = NOW + minute * 60_000;
      const submission = admitted(gateway.admit(request));
      submission.sample(ref, clock.nowUnixMs, 1);
      await submission.commit();
    }
    const order = ["metric_series", "metric_samples", "metric_samples", "metric_series", "metric_samples"];
    expect(bus.batches.map(({ schema }) => schema)).toEqual(order);
  });
});

describe("records", () => {
  it("outside the fences are refused one by one, and the others go on", async () => {
    const { gateway, bus } = startGateway();
    const submission = admitted(gateway.admit(request));
    const at = (unixMs: number) => record(String(unixMs), { timeUnixNano: BigInt(unixMs) * 1_000_000n });
    const ref = gateway.resource(resource());
    expect(submission.log(ref, at(NOW - 8 * 24 * HOUR_MS))).toBe("late");
    expect(submission.log(ref, at(NOW + HOUR_MS))).toBe("future");
    expect(submission.log(ref, at(NOW))).toBeNull();
    expect(submission.sample(gateway.series(series("up")), 0, 1)).toBe("late");
    await submission.commit();
    expect(bus.bodies).toEqual([String(NOW)]);
    expect(gateway.status().receivers).toEqual([
      { receiver: "otlp", sender: "shipper", requests: 1, accepted: 1, rejected: { late: 2, future: 1 } },
    ]);
  });

  it("with values that no column takes are refused without harm to their neighbours", async () => {
    const { gateway, bus } = startGateway();
    const submission = admitted(gateway.admit(request));
    const ref = gateway.resource(resource());
    expect(submission.log(ref, record("x".repeat(RECORD_BYTES_MAX + 1)))).toBe("too_large");
    expect(submission.log(ref, record("bad", { severityNumber: 256 }))).toBe("bad_value");
    expect(submission.log(ref, record("bad", { traceFlags: 1.5 }))).toBe("bad_value");
    expect(submission.sample(gateway.series(series("up")), Number.NaN, 1)).toBe("not_a_number");
    const service = "s".repeat(256);
    const huge = gateway.resource({ host: "", service, attributes: { "service.name": service } });
    expect(submission.log(huge, record("x"))).toBe("too_large");
    const point = { timestampUnixMs: NOW, count: 1, sum: 1, min: 1, max: 1, bounds: [1, 2], counts: [1] };
    const distribution = gateway.series(series("latency", { kind: "histogram" }));
    expect(submission.histogram(distribution, point)).toBe("bad_value");
    expect(submission.log(ref, record("good"))).toBeNull();
    await submission.commit();
    expect(bus.bodies).toEqual(["good"]);
  });

  it("that are more than a request may bring are refused, not held", () => {
    const { gateway } = startGateway({ records_per_request_max: 2 });
    const submission = admitted(gateway.admit(request));
    const ref = gateway.resource(resource());
    expect([0, 1, 2].map(() => submission.log(ref, record("x")))).toEqual([null, null, "too_many"]);
  });

  it("without a time have that of their observation, or of their arrival", async () => {
    const { gateway, bus } = startGateway();
    const submission = admitted(gateway.admit(request));
    const ref = gateway.resource(resource());
    const observedUnixNano = BigInt(NOW - 5000) * 1_000_000n;
    submission.log(ref, record("observed", { timeUnixNano: 0n, observedUnixNano }));
    submission.log(ref, record("arrived", { timeUnixNano: 0n }));
    await submission.commit();
    const [batch] = bus.batches.filter(({ schema }) => schema === "logs");
    if (batch?.schema !== "logs") throw new Error("no logs");
    expect([...batch.column("timestamp")]).toEqual([observedUnixNano, BigInt(NOW) * 1_000_000n]);
  });
});

describe("a counter", () => {
  const counter = series("requests", { kind: "counter" });
  const values = async (points: readonly (readonly [number, number, number])[]) => {
    const { gateway, bus } = startGateway();
    const submission = admitted(gateway.admit(request));
    for (const [time, value, start] of points)
      submission.sample(gateway.series(counter), NOW + time, value, start === 0 ? 0 : NOW + start);
    await submission.commit();
    return bus.samples.map(({ timestamp, value }) => [timestamp - NOW, value]);
  };

  it("that began while we watched was zero at its start", async () => {
    expect(await values([[0, 5, -60_000]])).toEqual([
      [-60_000, 0],
      [0, 5],
    ]);
  });

  it("that began long before says nothing of its start", async () => {
    expect(await values([[0, 5, -HOUR_MS]])).toEqual([[0, 5]]);
  });

  it("that begins anew was zero then, once", async () => {
    const points = [
      [0, 500, -HOUR_MS],
      [10, 510, -HOUR_MS],
      [20, 3, 15],
      [30, 4, 15],
      [5, 505, -HOUR_MS],
    ] as const;
    expect(await values(points)).toEqual([
      [0, 500],
      [10, 510],
      [15, 0],
      [20, 3],
      [30, 4],
      [5, 505],
    ]);
  });

  it("whose start is not told is left as it is", async () => {
    expect(
      await values([
        [0, 5, 0],
        [10, 6, 0],
      ]),
    ).toEqual([
      [0, 5],
      [10, 6],
    ]);
  });
});

describe("room", () => {
  it("is refused beyond in_flight_bytes_max, and there again when the bus has caught up", async () => {
    const { gateway, bus } = startGateway({ in_flight_bytes_max: 1_048_576, lanes: 1 });
    bus.fault = unreachable;
    const commits: Promise<void>[] = [];
    let submission = gateway.admit({ ...request, bytes: 1000 });
    for (let count = 0; submission !== null && count < 1000; count++) {
      submission.log(gateway.resource(resource()), record(noise(50_000, count)));
      commits.push(submission.commit());
      submission = gateway.admit({ ...request, bytes: 1000 });
    }
    expect(submission).toBeNull();
    expect(commits.length).toBeGreaterThan(10);
    expect(commits.length).toBeLessThan(40);
    expect(gateway.status().heldBytes).toBeLessThan(2 * 1_048_576);
    bus.fault = undefined;
    await Promise.all(commits);
    expect(gateway.status().heldBytes).toBe(0);
    expect(bus.bodies).toHaveLength(commits.length);
    expect(gateway.admit({ ...request, bytes: 1000 })).not.toBeNull();
  });
});

describe("the report", () => {
  it("tells what came from whom and that the account closes", async () => {
    const { gateway, bus } = startGateway();
    const submission = admitted(gateway.admit(request));
    submission.log(gateway.resource(resource()), record("hello"));
    submission.reject("bad_line", 3);
    await submission.commit();
    await gateway.stop();
    expect(bus.reports.at(-1)).toEqual({
      gateway: "gateway:gate-1/0001",
      at_unix_ms: NOW,
      started_at_unix_ms: NOW,
      receivers: [{ receiver: "otlp", sender: "shipper", requests: 1, accepted: 1, rejected: { bad_line: 3 } }],
      topics: {
        "telemetry.logs": { produced: 2, delivered: 2, spooled: 0, dropped: {} },
        "telemetry.metrics": { produced: 0, delivered: 0, spooled: 0, dropped: {} },
      },
      checkpoints: [
        {
          topic: "telemetry.logs",
          producer: bus.batches[0]?.header.producer,
          sequence: bus.batches.at(-1)?.header.sequence,
          rows: 2,
          since_sequence: 1,
        },
      ],
    });
    expect(bus.batches[0]?.header.producer).toMatch(/^gateway:gate-1\/0001-[0-3]$/);
  });
});
