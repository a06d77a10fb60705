import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RequestError } from "../../gateway/receiver-route.ts";
import { JSON_TYPE, PROTOBUF } from "./answers.ts";
import { appendMetrics } from "./append-metrics.ts";
import { NUMBERS_MAX } from "./data-point.ts";
import { decodeOtlpMetrics } from "./decode.ts";
import { ExportMetricsServiceRequest } from "./definitions.ts";
import { type Recorded, recorder } from "./receiver.fixture.ts";
import { SeriesMemo } from "./series-memo.ts";

const text = (key: string, value: string) => ({ key, value: { stringValue: value } });
const RESOURCE = { attributes: [text("service.name", "my.service"), text("host.name", "web-1")] };
const SCOPE = { name: "my.library", version: "1.0.0", attributes: [text("team", "shop")] };
const LABELS = {
  "service.name": "my.service",
  "host.name": "web-1",
  "otel.scope.name": "my.library",
  "otel.scope.version": "1.0.0",
  "otel.scope.team": "shop",
};
const START = "1760000000000000000";
const TIME = "1760000010123999999";
const AT = { startTimeUnixNano: START, timeUnixNano: TIME };

type Metric = Record<string, unknown>;
const requestOf = (...metrics: readonly Metric[]) => ({
  resourceMetrics: [{ resource: RESOURCE, scopeMetrics: [{ scope: SCOPE, metrics }] }],
});
const protobuf = (request: Record<string, unknown>): Buffer =>
  Buffer.from(ExportMetricsServiceRequest.encode(ExportMetricsServiceRequest.fromObject(request)).finish());

const appended = (body: Buffer, contentType: string, memo = new SeriesMemo()): Recorded & { refused: string } => {
  const { recorded, registry, sink } = recorder();
  const refusals = appendMetrics(registry, sink, decodeOtlpMetrics(body, contentType, memo));
  return { ...recorded, refused: refusals.message };
};
const append = (...metrics: readonly Metric[]) =>
  appended(Buffer.from(JSON.stringify(requestOf(...metrics))), JSON_TYPE);

const samplesOf = ({ samples }: Recorded): unknown[] =>
  samples.map(({ series, timestampUnixMs, value, startUnixMs }) => [
    series.name,
    series.kind,
    series.unit,
    timestampUnixMs,
    value,
    startUnixMs,
  ]);

const point = (more: Record<string, unknown>) => ({ ...AT, ...more });
const CUMULATIVE = 2;
const DELTA = 1;
const T = 1_760_000_010_123;
const S = 1_760_000_000_000;

const HISTOGRAM = point({
  count: "6",
  sum: 12.5,
  min: 0.1,
  max: 7,
  bucketCounts: ["1", "2", "3"],
  explicitBounds: [1, 5],
});

describe("a data point becomes", () => {
  const numbers: readonly [string, Metric, unknown[]][] = [
    ["a gauge", { gauge: { dataPoints: [point({ asDouble: 1.5 })] } }, ["gauge", T, 1.5, 0]],
    ["an integer gauge", { gauge: { dataPoints: [point({ asInt: "-7" })] } }, ["gauge", T, -7, 0]],
    [
      "a counter, of a monotonic cumulative sum",
      { sum: { dataPoints: [point({ asInt: "7" })], aggregationTemporality: CUMULATIVE, isMonotonic: true } },
      ["counter", T, 7, S],
    ],
    [
      "a gauge, of a cumulative sum that can fall",
      { sum: { dataPoints: [point({ asInt: "7" })], aggregationTemporality: CUMULATIVE } },
      ["gauge", T, 7, 0],
    ],
    [
      "a delta, of a delta sum",
      { sum: { dataPoints: [point({ asInt: "7" })], aggregationTemporality: DELTA, isMonotonic: true } },
      ["delta", T, 7, 0],
    ],
    [
      "a staleness marker, when it says that there is no value",
      { gauge: { dataPoints: [point({ flags: 1 })] } },
      ["gauge", T, Number.NaN, 0],
    ],
  ];
  it.each(numbers)("%s", (_name, data, [kind, time, value, start]) => {
    const result = append({ name: "m", unit: "By", ...data });
    expect(samplesOf(result)).toEqual([["m", kind, "By", time, value, start]]);
    expect(result.samples[0]?.series).toMatchObject({ host: "web-1", service: "my.service", attributes: LABELS });
    expect(result.refused).toBe("");
  });

  it("a distribution with its count and sum, of a histogram", () => {
    const result = append({
      name: "d",
      unit: "s",
      histogram: { dataPoints: [HISTOGRAM], aggregationTemporality: CUMULATIVE },
    });
    expect(samplesOf(result)).toEqual([
      ["d_count", "counter", "1", T, 6, S],
      ["d_sum", "counter", "s", T, 12.5, S],
    ]);
    expect(result.histograms).toEqual([
      {
        series: expect.objectContaining({ name: "d", kind: "histogram", unit: "s", attributes: LABELS }),
        point: {
          timestampUnixMs: T,
          count: 6,
          sum: 12.5,
          min: 0.1,
          max: 7,
          bounds: [1, 5, Number.POSITIVE_INFINITY],
          counts: [1, 2, 3],
        },
        startUnixMs: S,
      },
    ]);
  });

  it("deltas, of a delta histogram without sum, minimum and maximum", () => {
    const rest = point({ count: "6", bucketCounts: ["1", "5"], explicitBounds: [1] });
    const result = append({ name: "d", histogram: { dataPoints: [rest], aggregationTemporality: DELTA } });
    expect(samplesOf(result)).toEqual([["d_count", "delta", "1", T, 6, 0]]);
    expect(result.histograms).toMatchObject([
      {
        series: { kind: "delta_histogram" },
        point: { sum: Number.NaN, min: Number.NaN, max: Number.NaN },
        startUnixMs: 0,
      },
    ]);
  });

  it("count and sum alone, of a histogram without buckets", () => {
    const result = append({
      name: "d",
      histogram: { dataPoints: [point({ count: "2", sum: 3 })], aggregationTemporality: CUMULATIVE },
    });
    expect(result.samples.map(({ value }) => value)).toEqual([2, 3]);
    expect(result.histograms).toEqual([]);
  });

  it("ascending bounds, of an exponential histogram with negative, zero and positive buckets", () => {
    const result = append({
      name: "e",
      exponentialHistogram: {
        aggregationTemporality: CUMULATIVE,
        dataPoints: [
          point({
            count: "10",
            sum: 3,
            scale: 0,
            zeroCount: "2",
            zeroThreshold: 0.25,
            positive: { offset: 0, bucketCounts: ["1", "0", "4"] },
            negative: { offset: 1, bucketCounts: ["3"] },
          }),
        ],
      },
    });
    // Scale 0: (1, 2], (4, 8] and [-4, -2).
    expect(result.histograms[0]?.point).toMatchObject({
      bounds: [-4, -2, -0.25, 0.25, 1, 2, 4, 8],
      counts: [0, 3, 0, 2, 0, 1, 0, 4],
    });
    expect(samplesOf(result)).toEqual([
      ["e_count", "counter", "1", T, 10, S],
      ["e_sum", "counter", "", T, 3, S],
    ]);
  });

  it("quantiles with count and sum, of a summary", () => {
    const result = append({
      name: "s",
      unit: "ms",
      summary: {
        dataPoints: [
          point({
            count: "4",
            sum: 10,
            quantileValues: [
              { quantile: 0.5, value: 2 },
              { quantile: 0.99, value: 7 },
            ],
          }),
        ],
      },
    });
    expect(samplesOf(result)).toEqual([
      ["s_count", "counter", "1", T, 4, S],
      ["s_sum", "counter", "ms", T, 10, S],
      ["s", "gauge", "ms", T, 2, 0],
      ["s", "gauge", "ms", T, 7, 0],
    ]);
    expect(result.samples.slice(2).map(({ series }) => series.attributes.quantile)).toEqual(["0.5", "0.99"]);
  });

  it("staleness markers of count and sum, when a histogram says that there is no value", () => {
    const result = append({
      name: "d",
      histogram: { dataPoints: [point({ flags: 1 })], aggregationTemporality: CUMULATIVE },
    });
    expect(result.samples.map(({ value }) => value)).toEqual([Number.NaN, Number.NaN]);
    expect(result.histograms).toEqual([]);
  });

  it("labels in which its own attribute goes over the resource's", () => {
    const attributes = [text("host.name", "other"), text("cpu", "0")];
    const result = append({ name: "m", gauge: { dataPoints: [point({ asInt: "1", attributes })] } });
    expect(result.samples[0]?.series).toMatchObject({
      host: "other",
      attributes: { ...LABELS, "host.name": "other", cpu: "0" },
    });
  });
});

describe("a data point is refused, with its reason in the partial success, and the others go on,", () => {
  const histogram = (more: Record<string, unknown>): Metric => ({
    name: "d",
    histogram: { dataPoints: [point({ count: "1", ...more })], aggregationTemporality: CUMULATIVE },
  });
  const cases: readonly [string, Metric, string][] = [
    ["without a value", { name: "m", gauge: { dataPoints: [point({})] } }, "no_value"],
    ["without a name", { gauge: { dataPoints: [point({ asInt: "1" })] } }, "no_name"],
    ["without temporality", { name: "m", sum: { dataPoints: [point({ asInt: "1" })] } }, "no_temporality"],
    ["with more counts than buckets", histogram({ bucketCounts: ["1", "1", "1"], explicitBounds: [1] }), "bad_buckets"],
    [
      "with bounds that do not ascend",
      histogram({ bucketCounts: ["1", "1", "1"], explicitBounds: [2, 2] }),
      "bad_buckets",
    ],
    ["with a bound that is no number", histogram({ bucketCounts: ["1", "1"], explicitBounds: ["NaN"] }), "bad_buckets"],
    [
      "with more buckets than anybody has",
      histogram({ bucketCounts: new Array(NUMBERS_MAX + 1).fill("0"), explicitBounds: [] }),
      "too_many_buckets",
    ],
    ["of a metric without data", { name: "m" }, "no_data"],
    [
      "with buckets outside the doubles",
      {
        name: "e",
        exponentialHistogram: {
          aggregationTemporality: CUMULATIVE,
          dataPoints: [point({ count: "1", scale: -11, positive: { offset: 5, bucketCounts: ["1"] } })],
        },
      },
      "bad_buckets",
    ],
  ];
  it.each(cases)("%s", (_name, metric, reason) => {
    const result = append(metric, { name: "good", gauge: { dataPoints: [point({ asInt: "1" })] } });
    expect(result.refused).toBe(`refused: 1 ${reason}`);
    expect(result.rejected).toEqual({ [reason]: 1 });
    expect(result.samples.map(({ series }) => series.name)).toEqual(["good"]);
  });

  it("but exemplars are only counted", () => {
    const result = append({
      name: "m",
      gauge: { dataPoints: [point({ asInt: "1", exemplars: [{ asInt: "1" }, {}] })] },
    });
    expect(result.rejected).toEqual({ exemplar: 2 });
    expect([result.refused, result.samples.length]).toEqual(["", 1]);
  });
});

const attributesOf = fc.array(fc.tuple(fc.constantFrom("a", "b", "c"), fc.string({ maxLength: 5 })), { maxLength: 3 });
const fixed = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String);
/** Without -0, which JSON writes as 0. */
const double = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);
const common = {
  timeUnixNano: fixed,
  startTimeUnixNano: fixed,
  attributes: attributesOf.map((list) => list.map(([key, value]) => text(key, value))),
  flags: fc.constantFrom(0, 1),
};
const counted = { ...common, count: fixed, sum: double };
const counts = fc.array(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String), { maxLength: 5 });
const temporality = fc.constantFrom(0, CUMULATIVE, DELTA);
const number = fc.oneof(
  fc.record({ ...common, asDouble: double }),
  fc.record({ ...common, asInt: fc.maxSafeInteger().map(String) }),
);
const range = fc.record({ offset: fc.integer({ min: -50, max: 50 }), bucketCounts: counts });
const limits = { min: double, max: double };
const metric = fc.oneof(
  fc.record({ gauge: fc.record({ dataPoints: fc.array(number) }) }),
  fc.record({
    sum: fc.record({ dataPoints: fc.array(number), aggregationTemporality: temporality, isMonotonic: fc.boolean() }),
  }),
  fc.record({
    histogram: fc.record({
      dataPoints: fc.array(
        fc.record({ ...counted, ...limits, bucketCounts: counts, explicitBounds: fc.array(double) }),
      ),
      aggregationTemporality: temporality,
    }),
  }),
  fc.record({
    exponentialHistogram: fc.record({
      dataPoints: fc.array(
        fc.record({
          ...counted,
          ...limits,
          scale: fc.integer({ min: -3, max: 20 }),
          zeroCount: fixed,
          zeroThreshold: fc.constantFrom(0, 0.5),
          positive: range,
          negative: range,
        }),
      ),
      aggregationTemporality: temporality,
    }),
  }),
  fc.record({
    summary: fc.record({
      dataPoints: fc.array(
        fc.record({
          ...counted,
          quantileValues: fc.array(fc.record({ quantile: double, value: double }), { maxLength: 3 }),
        }),
      ),
    }),
  }),
);
const metrics = fc.array(
  fc.tuple(metric, fc.string({ maxLength: 4 })).map(([data, name]) => ({ name, unit: "1", ...data })),
  {
    maxLength: 4,
  },
);

describe("the low-level reader", () => {
  it("reads from protobuf what it reads from JSON, and the second time, from memory, the same", () => {
    fc.assert(
      fc.property(metrics, (given) => {
        const request = requestOf(...given);
        const body = protobuf(request);
        const memo = new SeriesMemo();
        const first = appended(body, PROTOBUF, memo);
        expect(first).toEqual(appended(Buffer.from(JSON.stringify(request)), JSON_TYPE));
        const second = appended(body, PROTOBUF, memo);
        expect(second.seriesMade).toEqual([]);
        expect({ ...second, seriesMade: first.seriesMade }).toEqual(first);
      }),
      { numRuns: 150 },
    );
  });

  it("reads the numbers that the published definitions read, whatever the point", () => {
    fc.assert(
      fc.property(metrics, (given) => {
        const body = protobuf(requestOf(...given));
        const read = decodeOtlpMetrics(body, PROTOBUF).metrics.flatMap(({ points }) =>
          points.map((each) => each.point),
        );
        const message = ExportMetricsServiceRequest.decode(body) as unknown as Decoded;
        const [scope] = message.resourceMetrics[0]?.scopeMetrics ?? [];
        const expected = (scope?.metrics ?? []).flatMap((each) => {
          const { dataPoints = [] } =
            each.gauge ?? each.sum ?? each.histogram ?? each.exponentialHistogram ?? each.summary ?? {};
          return dataPoints.map(plainly);
        });
        expect(read.map(plainly)).toEqual(expected);
      }),
      { numRuns: 150 },
    );
  });

  it("keeps series of one metric apart by the attributes of their points, and remembers both", () => {
    const one = protobuf(
      requestOf({ name: "m", gauge: { dataPoints: [point({ asInt: "1", attributes: [text("a", "1")] })] } }),
    );
    const other = protobuf(
      requestOf({ name: "m", gauge: { dataPoints: [point({ asInt: "1", attributes: [text("a", "2")] })] } }),
    );
    const memo = new SeriesMemo();
    const series = [one, other, one].flatMap((body) => appended(body, PROTOBUF, memo).seriesMade);
    expect(series.map(({ attributes }) => attributes.a)).toEqual(["1", "2"]);
  });

  it("refuses more metrics or points than memory should hold, however few bytes they take", () => {
    const many = (inner: Buffer): Buffer => {
      let body = inner;
      for (const tag of [0x12, 0x12, 0x0a]) body = Buffer.concat([Buffer.from([tag, ...varint(body.length)]), body]);
      return body;
    };
    const varint = (length: number): number[] => [(length & 127) | 128, ((length >> 7) & 127) | 128, length >> 14];
    const gauges = Buffer.alloc(1_000_000, Buffer.from([0x2a, 0x00]));
    const points = Buffer.alloc(1_000_000, Buffer.from([0x0a, 0x00]));
    const ofPoints = Buffer.concat([Buffer.from([0x2a, ...varint(points.length)]), points]);
    const scopes = Buffer.alloc(1_000_000, Buffer.from([0x12, 0x00]));
    const ofScopes = Buffer.concat([Buffer.from([0x0a, ...varint(scopes.length)]), scopes]);
    for (const body of [ofScopes, many(ofPoints)]) {
      expect(() => decodeOtlpMetrics(body, PROTOBUF)).toThrow(RequestError);
    }
    // A metric that gives its data again and again has the last of them.
    expect(decodeOtlpMetrics(many(gauges), PROTOBUF).metrics).toHaveLength(1);
  });

  it("forgets what it remembers of series when that takes too much, and makes them anew", () => {
    const memo = new SeriesMemo();
    const load = protobuf(requestOf({ name: "m", gauge: { dataPoints: [point({ asInt: "1" })] } }));
    const made = (): number => appended(load, PROTOBUF, memo).seriesMade.length;
    expect([made(), made()]).toEqual([1, 0]);
    for (let index = 0; index < 30; index++) {
      const attributes = [text("big", `${index}`.repeat(1_000_000))];
      appended(protobuf({ resourceMetrics: [{ resource: { attributes } }] }), PROTOBUF, memo);
    }
    expect([made(), made()]).toEqual([1, 0]);
  });

  it("refuses or reads what is cut anywhere or has bytes changed, and nothing else happens", () => {
    const whole = protobuf(
      requestOf(
        { name: "d", unit: "s", histogram: { dataPoints: [HISTOGRAM], aggregationTemporality: CUMULATIVE } },
        { name: "m", gauge: { dataPoints: [point({ asInt: "1", attributes: [text("a", "1"), text("b", "2")] })] } },
        {
          name: "e",
          exponentialHistogram: {
            aggregationTemporality: DELTA,
            dataPoints: [point({ count: "1", scale: 3, positive: { offset: 5, bucketCounts: ["1", "2"] } })],
          },
        },
      ),
    );
    const outcome = (body: Buffer): boolean => {
      try {
        appended(body, PROTOBUF);
        return true;
      } catch (error) {
        return error instanceof RequestError && error.status === 400;
      }
    };
    for (let length = 0; length < whole.length; length++) expect(outcome(whole.subarray(0, length))).toBe(true);
    const change = fc.tuple(fc.nat({ max: whole.length - 1 }), fc.nat({ max: 255 }));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), (changes) => {
        const changed = Buffer.from(whole);
        for (const [at, byte] of changes) changed[at] = byte;
        expect(outcome(changed)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});

interface Decoded {
  readonly resourceMetrics: readonly {
    readonly scopeMetrics: readonly { readonly metrics: readonly DecodedMetric[] }[];
  }[];
}
type DecodedMetric = Record<string, { readonly dataPoints?: readonly object[] } | undefined>;

/** The numbers of a point, of ours or of protobufjs's, in one shape. */
const plainly = (given: object): unknown => {
  const from = given as Record<string, unknown>;
  const amount = (value: unknown): number => Number(String(value ?? 0));
  const list = (value: unknown): number[] => ((value ?? []) as unknown[]).map(amount);
  const ofRange = (value: unknown) => {
    const { offset = 0, counts, bucketCounts } = (value ?? {}) as Record<string, unknown>;
    return { offset: amount(offset), counts: list(counts ?? bucketCounts) };
  };
  const ms = (own: unknown, nano: unknown): number =>
    nano === undefined ? amount(own) : Number(BigInt(String(nano)) / 1_000_000n);
  return {
    time: ms(from.timeUnixMs, "timeUnixMs" in from ? undefined : (from.timeUnixNano ?? 0)),
    start: ms(from.startUnixMs, "timeUnixMs" in from ? undefined : (from.startTimeUnixNano ?? 0)),
    flags: amount(from.flags),
    // Of protobufjs's message `value` is the name of the field that is set.
    value: amount(typeof from.value === "string" ? from[from.value] : from.value),
    count: amount(from.count),
    sum: amount(from.sum),
    bucketCounts: list(from.bucketCounts),
    explicitBounds: list(from.explicitBounds),
    scale: amount(from.scale),
    zeroCount: amount(from.zeroCount),
    zeroThreshold: amount(from.zeroThreshold),
    positive: ofRange(from.positive),
    negative: ofRange(from.negative),
    quantiles: ((from.quantiles ?? from.quantileValues ?? []) as Record<string, unknown>[]).map((each) => [
      amount(each.quantile),
      amount(each.value),
    ]),
  };
};
