import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RequestError } from "../../gateway/receiver-route.ts";
import { kindOf, unitOf } from "./metric-kind.ts";
import {
  encodeV1,
  encodeV2,
  MEDIA_TYPES,
  recordingReceiver,
  WriteRequest,
  WriteRequestV2,
} from "./write-requests.fixture.ts";

/*
 * The walk over the bytes, with its caches, against decoding whole messages with protobufjs and the published definitions. Few names and
 * values, so that series come again, alone and in other company.
 */

interface Label {
  readonly name: string;
  readonly value: string;
}

const NAMES = ["__name__", "instance", "job", "le", "zone", "é", "Z", "__proto__", ""];
const VALUES = ["http_requests_total", "up", "node-1:9100", "n", "ü", "0.5", "x".repeat(200), ""];

const byName = (a: Label, b: Label): number => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name));

const label = fc.record({ name: fc.constantFrom(...NAMES), value: fc.constantFrom(...VALUES) });
const goodLabels = fc
  .uniqueArray(label, { selector: ({ name }) => name, maxLength: 6 })
  .map((labels) => labels.filter(({ name, value }) => name !== "" && value !== "" && name !== "__name__"))
  .chain((labels) =>
    fc.constantFrom("up", "http_requests_total").map((value) => [...labels, { name: "__name__", value }].sort(byName)),
  );
const labels = fc.oneof(
  { weight: 8, arbitrary: goodLabels },
  { weight: 1, arbitrary: fc.array(label, { maxLength: 5 }) },
);
const value = fc.oneof(fc.double(), fc.constantFrom(0, 1, Number.NaN));
const sample = fc.record({
  value,
  timestamp: fc.oneof(
    fc.constantFrom(0, 13, -1, 2 ** 28, 2 ** 31, -(2 ** 40), Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER),
    fc.integer({ min: 1_600_000_000_000, max: 1_800_000_000_000 }),
  ),
});
const series = fc.record({ labels, samples: fc.array(sample, { maxLength: 3 }) });
const request = fc.array(series, { maxLength: 6 });

type Series = { readonly labels: readonly Label[]; readonly samples: readonly { value: number; timestamp: number }[] };

/** The rules of the specification, as plainly as they can be written. */
const isTaken = ({ labels: told }: Series): boolean =>
  told.some(({ name }) => name === "__name__") &&
  told.every(({ name, value: text }, place) => {
    const before = told[place - 1];
    return name !== "" && text !== "" && (before === undefined || byName(before, { name, value: text }) < 0);
  });

const samplesOf = (all: readonly Series[]) => {
  const taken = all.filter(isTaken).flatMap(({ labels: told, samples }) =>
    samples.map((each) => ({
      labels: told.filter(({ name }) => name !== "__name__").map(({ name, value: text }) => [name, text]),
      name: told.find(({ name }) => name === "__name__")?.value,
      at: each.timestamp,
      value: each.value,
    })),
  );
  return taken.filter(({ at }) => at !== 13);
};

const heard = (received: ReturnType<ReturnType<typeof recordingReceiver>["send"]>["received"]) =>
  received.samples.map(({ series: { name, attributes }, at, value: told }) => ({
    labels: Object.entries(attributes),
    name,
    at,
    value: told,
  }));

/** As protobufjs reads it back, so that the reference has passed through the published definition. */
const decodedV1 = (body: Buffer): Series[] =>
  (WriteRequest.toObject(WriteRequest.decode(body), { longs: Number, defaults: true }) as { timeseries: Series[] })
    .timeseries;

const v2Of = (all: readonly Series[], numbers: readonly number[]) => {
  const symbols = [""];
  // Each request orders its symbols in its own way.
  const refOf = (text: string, salt: number): number => {
    const known = symbols.indexOf(text);
    if (known >= 0) return known;
    if (salt % 2 === 0) symbols.push(`unused ${symbols.length}`);
    return symbols.push(text) - 1;
  };
  const timeseries = all.map(({ labels: told, samples }, place) => ({
    labelsRefs: told.flatMap(({ name, value: text }) => [
      refOf(name, numbers[place] ?? 0),
      refOf(text, numbers[place] ?? 0),
    ]),
    samples,
  }));
  return { symbols, timeseries };
};

describe("the walk over a request finds what full decoding finds", () => {
  it("in version 1.0, whatever was seen before", () => {
    const { send } = recordingReceiver();
    fc.assert(
      fc.property(request, (timeseries) => {
        const body = encodeV1({ timeseries });
        expect(heard(send("v1", body).received)).toEqual(samplesOf(decodedV1(body)));
      }),
      { numRuns: 500 },
    );
  });

  it("in version 2.0, however requests number their symbols", () => {
    const { send } = recordingReceiver();
    fc.assert(
      fc.property(request, fc.array(fc.nat({ max: 9 })), (timeseries, numbers) => {
        const body = encodeV2(v2Of(timeseries, numbers));
        const { answer, received } = send("v2", body);
        expect(heard(received)).toEqual(samplesOf(timeseries));
        expect(answer.headers?.["X-Prometheus-Remote-Write-Samples-Written"]).toBe(String(received.samples.length));
        const isWhole = timeseries.every((each) => isTaken(each) && each.samples.length > 0);
        const isLate = timeseries.some(
          (each) => isTaken(each) && each.samples.some(({ timestamp }) => timestamp === 13),
        );
        expect(answer.status).toBe(isWhole && !isLate ? 204 : 400);
      }),
      { numRuns: 500 },
    );
  });

  it("and takes nothing of a body that is cut short", () => {
    const { send } = recordingReceiver();
    const whole: Series[] = [
      { labels: [{ name: "__name__", value: "up" }], samples: [{ value: 1, timestamp: 1_700_000_000_000 }] },
      { labels: [{ name: "__name__", value: "down" }], samples: [{ value: 2, timestamp: 1_700_000_000_000 }] },
    ];
    for (const [version, body] of [
      ["v1", encodeV1({ timeseries: whole })],
      ["v2", encodeV2(v2Of(whole, []))],
    ] as const) {
      const ends = new Set<number>();
      for (let length = 1; length < body.length; length++) {
        try {
          // A cut between two top-level fields leaves a whole, smaller message.
          ends.add(send(version, body.subarray(0, length)).received.samples.length);
        } catch (error) {
          expect(error).toBeInstanceOf(RequestError);
        }
      }
      expect([...ends].every((count) => count < 2)).toBe(true);
    }
  });
});

const up = (extra: object = {}) => ({
  labels: [{ name: "__name__", value: "up" }],
  samples: [{ value: 1, timestamp: 1_700_000_000_000 }],
  ...extra,
});

describe("labels", () => {
  const answerTo = (told: readonly Label[]) => {
    const { answer, received } = recordingReceiver().send("v1", encodeV1({ timeseries: [up({ labels: told }), up()] }));
    return {
      status: answer.status,
      body: String(answer.body),
      taken: received.samples.length,
      rejected: received.rejected,
    };
  };

  it.each([
    [
      "not sorted",
      [
        { name: "__name__", value: "a" },
        { name: "b", value: "1" },
        { name: "a", value: "1" },
      ],
      "not sorted",
    ],
    [
      "repeated",
      [
        { name: "__name__", value: "a" },
        { name: "b", value: "1" },
        { name: "b", value: "2" },
      ],
      'the label "b" stands twice',
    ],
    [
      "without a name",
      [
        { name: "", value: "x" },
        { name: "__name__", value: "a" },
      ],
      "a label's name is empty",
    ],
    [
      "without a value",
      [
        { name: "__name__", value: "a" },
        { name: "b", value: "" },
      ],
      'the label "b" is empty',
    ],
    ["without __name__", [{ name: "b", value: "1" }], "there is no label __name__"],
  ])("that are %s make the answer 400, with the rest written", (_, told, message) => {
    const answer = answerTo(told);
    expect(answer).toMatchObject({ status: 400, taken: 1, rejected: { invalid_labels: 1 } });
    expect(answer.body).toContain(message);
  });

  it("name host and service, and stay as they came", () => {
    const told = [
      { name: "__name__", value: "node_cpu_seconds_total" },
      { name: "instance", value: "web-1:9100" },
      { name: "job", value: "node" },
    ];
    const { received } = recordingReceiver().send("v1", encodeV1({ timeseries: [up({ labels: told })] }));
    expect(received.samples[0]?.series).toEqual({
      name: "node_cpu_seconds_total",
      kind: "counter",
      unit: "s",
      host: "web-1",
      service: "node",
      attributes: { instance: "web-1:9100", job: "node" },
    });
  });
});

describe("what a series counts", () => {
  it.each([
    ["http_requests_total", 0, "counter"],
    ["rpc_seconds_bucket", 0, "counter"],
    ["rpc_seconds_count", 0, "counter"],
    ["rpc_seconds_sum", 0, "counter"],
    ["memory_bytes", 0, "gauge"],
    ["requests", 1, "counter"],
    ["things_total", 2, "gauge"],
    ["rpc_seconds_bucket", 3, "counter"],
    ["rpc_seconds_bucket", 4, "gauge"],
    ["rpc_seconds", 5, "gauge"],
    ["rpc_seconds_sum", 5, "counter"],
    ["build_info", 6, "gauge"],
  ] as const)("%s of type %i is a %s", (name, type, kind) => {
    expect(kindOf(name, type)).toBe(kind);
  });

  it("a unit comes from metadata, else from the name", () => {
    expect(unitOf("node_cpu_seconds_total", "")).toBe("s");
    expect(unitOf("heap", "bytes")).toBe("By");
    expect(unitOf("queue_length", "")).toBe("");
    expect(unitOf("rpc_seconds_count", "seconds")).toBe("");
  });

  it("metadata of 1.0 is remembered for the requests after it", () => {
    const { send } = recordingReceiver();
    const requests = (extra: object = {}) =>
      send("v1", encodeV1({ timeseries: [up()], ...extra })).received.samples[0]?.series;
    expect(requests()?.kind).toBe("gauge");
    expect(requests({ metadata: [{ type: 1, metricFamilyName: "up", unit: "seconds" }] })).toMatchObject({
      kind: "counter",
      unit: "s",
    });
    expect(requests()?.kind).toBe("counter");
  });

  it("metadata of 2.0 goes with its series, and start times with their samples", () => {
    const symbols = ["", "__name__", "up", "seconds"];
    const timeseries = [
      {
        labelsRefs: [1, 2],
        metadata: { type: 1, unitRef: 3 },
        samples: [{ value: 1, timestamp: 1_700_000_000_000, startTimestamp: 1_699_999_999_000 }],
      },
    ];
    const { answer, received } = recordingReceiver().send("v2", encodeV2({ symbols, timeseries }));
    expect(answer.status).toBe(204);
    expect(received.samples[0]).toMatchObject({ series: { kind: "counter", unit: "s" }, start: 1_699_999_999_000 });
  });
});

describe("the answer", () => {
  const status = (contentType: string): number => {
    try {
      return recordingReceiver().send("v1", Buffer.alloc(0), contentType).answer.status;
    } catch (error) {
      if (error instanceof RequestError) return error.status;
      throw error;
    }
  };

  it.each([
    [MEDIA_TYPES.v1, 204],
    ["application/x-protobuf;proto=prometheus.WriteRequest", 204],
    [MEDIA_TYPES.v2, 204],
    ['application/x-protobuf; proto="io.prometheus.write.v2.Request"', 204],
    ["application/x-protobuf;proto=io.prometheus.write.v3.Request", 415],
    ["application/json", 415],
  ])("to the content type %s is %i", (contentType, expected) => {
    expect(status(contentType)).toBe(expected);
  });

  it("to a partial write is 400, and says how much was written and why not the rest", () => {
    const samples = [
      { value: 1, timestamp: 13 },
      { value: 2, timestamp: 1_700_000_000_000 },
    ];
    const { answer } = recordingReceiver().send("v1", encodeV1({ timeseries: [up({ samples })] }));
    expect(answer).toMatchObject({ status: 400, headers: { "X-Prometheus-Remote-Write-Samples-Written": "1" } });
    expect(answer.body).toContain("1 late");
  });

  it.each([
    [
      "a series without samples",
      { symbols: ["", "__name__", "up"], timeseries: [{ labelsRefs: [1, 2] }] },
      "invalid_series",
    ],
    [
      "an odd number of references",
      { symbols: ["", "__name__"], timeseries: [{ labelsRefs: [1], samples: [{}] }] },
      "invalid_labels",
    ],
    [
      "a symbol that is not there",
      { symbols: ["", "__name__"], timeseries: [{ labelsRefs: [1, 7], samples: [{}] }] },
      "invalid_labels",
    ],
  ])("to %s in 2.0 is 400", (_, message, reason) => {
    const { answer, received } = recordingReceiver().send("v2", encodeV2(message));
    expect(answer.status).toBe(400);
    expect(received.rejected).toEqual({ [reason]: 1 });
  });

  it("to a table of symbols that does not begin with the empty one is 400, with nothing written", () => {
    const body = encodeV2({ symbols: ["__name__", "up"], timeseries: [{ labelsRefs: [0, 1], samples: [{}] }] });
    expect(() => recordingReceiver().send("v2", body)).toThrow("the first symbol must be the empty string");
  });

  it("to metadata that is not UTF-8 is 400", () => {
    const body = encodeV1({ metadata: [{ type: 1, metricFamilyName: "up" }] });
    body[body.indexOf("up")] = 0xff;
    expect(() => recordingReceiver().send("v1", body)).toThrow(RequestError);
  });

  it("exemplars are counted as not kept, and fail nothing", () => {
    const exemplars = [{ value: 1, timestamp: 1_700_000_000_000 }];
    const { answer, received } = recordingReceiver().send("v1", encodeV1({ timeseries: [up({ exemplars })] }));
    expect(answer).toMatchObject({ status: 204, headers: { "X-Prometheus-Remote-Write-Exemplars-Written": "0" } });
    expect(received.rejected).toEqual({ exemplar: 1 });
  });

  it("the message of the other version has no effect and no error", () => {
    const body = encodeV2({ symbols: ["", "__name__", "up"], timeseries: [{ labelsRefs: [1, 2], samples: [{}] }] });
    expect(recordingReceiver().send("v1", body).answer.status).toBe(204);
    expect(WriteRequestV2.decode(encodeV1({ timeseries: [up()] }))).toMatchObject({ symbols: [], timeseries: [] });
  });
});
