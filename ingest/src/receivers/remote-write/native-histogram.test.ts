import { describe, expect, it } from "vitest";
import { encodeV1, encodeV2, recordingReceiver } from "./write-requests.fixture.ts";

const AT = 1_700_000_000_000;
const LABELS = [{ name: "__name__", value: "rpc" }];

const send = (histogram: object) =>
  recordingReceiver().send(
    "v1",
    encodeV1({ timeseries: [{ labels: LABELS, histograms: [{ timestamp: AT, ...histogram }] }] }),
  );

const distribution = (histogram: object): [number, number][] => {
  const point = send(histogram).received.histograms[0]?.point;
  return (point?.bounds ?? []).map((bound, place) => [bound, point?.counts[place] ?? Number.NaN]);
};

describe("the buckets of a native histogram", () => {
  it("lie between powers of two, with an empty bucket over each gap", () => {
    // Schema 0: bucket 1 is (1, 2], bucket 4 is (8, 16].
    const told = {
      countInt: 6,
      sum: 20,
      positiveSpans: [
        { offset: 1, length: 1 },
        { offset: 2, length: 1 },
      ],
      positiveDeltas: [2, 2],
    };
    expect(distribution(told)).toEqual([
      [1, 0],
      [2, 2],
      [8, 0],
      [16, 4],
    ]);
  });

  it("go from the most negative over zero to the most positive", () => {
    const told = {
      countInt: 10,
      sum: 1,
      zeroThreshold: 0.25,
      zeroCountInt: 3,
      negativeSpans: [{ offset: 1, length: 2 }],
      negativeDeltas: [1, 1],
      positiveSpans: [{ offset: 0, length: 1 }],
      positiveDeltas: [4],
    };
    // Negative bucket 1 is [-2, -1), 2 is [-4, -2); positive bucket 0 is (0.5, 1].
    expect(distribution(told)).toEqual([
      [-4, 0],
      [-2, 2],
      [-1, 1],
      [-0.25, 0],
      [0.25, 3],
      [0.5, 0],
      [1, 4],
    ]);
  });

  it("are finer with a higher schema and may have parts of counts", () => {
    const told = {
      countFloat: 1.5,
      sum: 2,
      schema: 1,
      positiveSpans: [{ offset: 1, length: 2 }],
      positiveCounts: [0.5, 1],
    };
    expect(distribution(told)).toEqual([
      [1, 0],
      [2 ** 0.5, 0.5],
      [2, 1],
    ]);
  });

  it("have bounds of their own in schema -53, beyond the last of which lies infinity", () => {
    const told = {
      countInt: 6,
      sum: 9,
      schema: -53,
      customValues: [1, 2.5, 10],
      positiveSpans: [
        { offset: 0, length: 1 },
        { offset: 1, length: 2 },
      ],
      positiveDeltas: [1, 1, 1],
    };
    expect(distribution(told)).toEqual([
      [1, 1],
      [2.5, 0],
      [10, 2],
      [Number.POSITIVE_INFINITY, 3],
    ]);
  });

  it("begin at zero when only the zero bucket is filled", () => {
    expect(distribution({ countInt: 2, zeroThreshold: 0, zeroCountInt: 2 })).toEqual([[0, 2]]);
    expect(distribution({ countInt: 2, zeroThreshold: 1e-3, zeroCountInt: 2 })).toEqual([[1e-3, 2]]);
  });

  it("end at infinity where doubles end", () => {
    const told = { countInt: 1, sum: 1, schema: -4, positiveSpans: [{ offset: 64, length: 1 }], positiveDeltas: [1] };
    expect(distribution(told)).toEqual([
      [2 ** 1008, 0],
      [Number.POSITIVE_INFINITY, 1],
    ]);
  });

  it.each([
    ["a schema that is not known", { schema: 9 }],
    [
      "spans for more buckets than are told",
      { countInt: 1, positiveSpans: [{ offset: 0, length: 2 }], positiveDeltas: [1] },
    ],
    [
      "spans that lie about their length",
      { countInt: 1, positiveSpans: [{ offset: 0, length: 4_000_000_000 }], positiveDeltas: [1] },
    ],
    ["buckets without spans", { countInt: 1, positiveDeltas: [1] }],
    [
      "a span that goes back",
      {
        countInt: 2,
        positiveSpans: [
          { offset: 0, length: 1 },
          { offset: -1, length: 1 },
        ],
        positiveDeltas: [1, 0],
      },
    ],
    ["a negative count", { countInt: 1, positiveSpans: [{ offset: 0, length: 2 }], positiveDeltas: [2, -3] }],
    [
      "a count that the buckets do not have",
      { countInt: 9, positiveSpans: [{ offset: 0, length: 1 }], positiveDeltas: [1] },
    ],
    ["custom bounds that do not ascend", { schema: -53, customValues: [2, 1] }],
    [
      "a bucket outside the custom bounds",
      { countInt: 1, schema: -53, customValues: [1], positiveSpans: [{ offset: 2, length: 1 }], positiveDeltas: [1] },
    ],
    ["a count that is no number", { countFloat: Number.NaN }],
  ])("are refused with %s", (_, told) => {
    const { answer, received } = send(told);
    expect(answer.status).toBe(400);
    expect(received.rejected).toEqual({ invalid_histogram: 1 });
    expect(received.histograms).toEqual([]);
    expect(received.samples).toEqual([]);
  });
});

describe("a native histogram", () => {
  const told = { countInt: 3, sum: 5, positiveSpans: [{ offset: 1, length: 1 }], positiveDeltas: [3] };

  it("is a cumulative distribution, with its count and its sum as counters", () => {
    const { answer, received } = send(told);
    expect(answer).toMatchObject({ status: 204, headers: { "X-Prometheus-Remote-Write-Histograms-Written": "1" } });
    expect(received.histograms[0]).toMatchObject({
      series: { name: "rpc", kind: "histogram" },
      point: { timestampUnixMs: AT, count: 3, sum: 5, min: Number.NaN, max: Number.NaN },
    });
    expect(received.samples.map(({ series, value }) => [series.name, series.kind, value])).toEqual([
      ["rpc_count", "counter", 3],
      ["rpc_sum", "counter", 5],
    ]);
  });

  it("with the gauge hint stands for itself", () => {
    const { received } = send({ ...told, resetHint: 3 });
    expect(received.histograms[0]?.series.kind).toBe("delta_histogram");
    expect(received.samples.map(({ series }) => series.kind)).toEqual(["gauge", "gauge"]);
  });

  it("that says it was reset begins just before its point", () => {
    expect(send({ ...told, resetHint: 1 }).received.histograms[0]?.start).toBe(AT - 1);
  });

  it("whose sum is the staleness marker ends its series and is no point", () => {
    // Field 3 with 0x7ff0000000000002: no encoder keeps which NaN it was.
    const histogram = Buffer.from("19020000000000f07f", "hex");
    const labels = encodeV1({ timeseries: [{ labels: LABELS }] }).subarray(2);
    const series = Buffer.concat([labels, Buffer.from([0x22, histogram.length]), histogram]);
    const { received } = recordingReceiver().send("v1", Buffer.concat([Buffer.from([0x0a, series.length]), series]));
    expect(received.histograms).toEqual([]);
    expect(received.samples.map(({ series: { name }, value }) => [name, value])).toEqual([
      ["rpc_count", Number.NaN],
      ["rpc_sum", Number.NaN],
    ]);
  });

  it("keeps its start time in 2.0, and is refused beside samples", () => {
    const symbols = ["", "__name__", "rpc"];
    const histograms = [{ ...told, timestamp: AT, startTimestamp: AT - 5000 }];
    const alone = { symbols, timeseries: [{ labelsRefs: [1, 2], metadata: { type: 3 }, histograms }] };
    expect(recordingReceiver().send("v2", encodeV2(alone)).received.histograms[0]?.start).toBe(AT - 5000);
    const mixed = { symbols, timeseries: [{ labelsRefs: [1, 2], histograms, samples: [{ value: 1, timestamp: AT }] }] };
    expect(recordingReceiver().send("v2", encodeV2(mixed)).received.rejected).toEqual({ invalid_series: 2 });
  });
});
