import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RequestError } from "../../gateway/receiver-route.ts";
import { JSON_TYPE, PROTOBUF } from "./answers.ts";
import { ANY_VALUE_DEPTH_MAX } from "./any-value.ts";
import { decodeOtlpLogs } from "./decode.ts";
import { ExportLogsServiceRequest } from "./definitions.ts";
import { JSON_BYTES_MAX, JSON_OBJECTS_MAX } from "./json-body.ts";
import type { ResourceLogs } from "./logs-request.ts";

/** As in opentelemetry-proto's examples/logs.json. */
const EXAMPLE = {
  resourceLogs: [
    {
      resource: { attributes: [{ key: "service.name", value: { stringValue: "my.service" } }] },
      scopeLogs: [
        {
          scope: {
            name: "my.library",
            version: "1.0.0",
            attributes: [{ key: "my.scope.attribute", value: { stringValue: "some scope attribute" } }],
          },
          logRecords: [
            {
              timeUnixNano: "1544712660300000000",
              observedTimeUnixNano: "1544712660300000001",
              severityNumber: 10,
              severityText: "Information",
              traceId: "5B8EFFF798038103D269B633813FC60C",
              spanId: "EEE19B7EC3C1B174",
              flags: 257,
              eventName: "com.example.event",
              droppedAttributesCount: 2,
              body: { stringValue: "Example log record" },
              attributes: [
                { key: "string.attribute", value: { stringValue: "some string" } },
                { key: "boolean.attribute", value: { boolValue: true } },
                { key: "int.attribute", value: { intValue: "10" } },
                { key: "double.attribute", value: { doubleValue: 637.704 } },
                {
                  key: "array.attribute",
                  value: { arrayValue: { values: [{ stringValue: "many" }, { stringValue: "values" }] } },
                },
                {
                  key: "map.attribute",
                  value: {
                    kvlistValue: { values: [{ key: "some.map.key", value: { stringValue: "some value" } }] },
                  },
                },
              ],
            },
          ],
        },
      ],
    },
  ],
};

const json = (request: unknown): ResourceLogs[] => decodeOtlpLogs(Buffer.from(JSON.stringify(request)), JSON_TYPE);
const protobuf = (request: Record<string, unknown>): Buffer =>
  Buffer.from(ExportLogsServiceRequest.encode(ExportLogsServiceRequest.fromObject(request)).finish());

/** A request of one record. */
const requestOf = (record: Record<string, unknown>) => ({ resourceLogs: [{ scopeLogs: [{ logRecords: [record] }] }] });
const bodyOf = (body: unknown): string => json(requestOf({ body }))[0]?.records[0]?.body ?? "none";

const whyNot = (decode: () => unknown): { status: number; message: string } => {
  try {
    decode();
  } catch (error) {
    if (error instanceof RequestError) return { status: error.status, message: error.message };
    throw error;
  }
  return { status: 200, message: "" };
};

describe("a log record", () => {
  it("keeps every field of the data model", () => {
    expect(json(EXAMPLE)).toEqual([
      {
        resource: { host: "", service: "my.service", attributes: { "service.name": "my.service" } },
        records: [
          {
            timeUnixNano: 1544712660300000000n,
            observedUnixNano: 1544712660300000001n,
            severityNumber: 10,
            severityText: "Information",
            eventName: "com.example.event",
            scopeName: "my.library",
            traceId: "5b8efff798038103d269b633813fc60c",
            spanId: "eee19b7ec3c1b174",
            traceFlags: 1,
            body: "Example log record",
            attributes: {
              "otel.scope.version": "1.0.0",
              "otel.scope.my.scope.attribute": "some scope attribute",
              "otel.dropped_attributes_count": "2",
              "string.attribute": "some string",
              "boolean.attribute": "true",
              "int.attribute": "10",
              "double.attribute": "637.704",
              "array.attribute": '["many","values"]',
              "map.attribute": '{"some.map.key":"some value"}',
            },
          },
        ],
      },
    ]);
  });

  const bodies: readonly [string, unknown, string][] = [
    ["a string as it is", { stringValue: 'say "hi"\n' }, 'say "hi"\n'],
    ["nothing as an empty text", {}, ""],
    ["an int64 to its last digit", { intValue: "-9223372036854775808" }, "-9223372036854775808"],
    ["a double that is no number", { doubleValue: "NaN" }, "NaN"],
    ["an infinite double", { doubleValue: "-Infinity" }, "-Infinity"],
    ["bytes in base64", { bytesValue: "AAH/" }, "AAH/"],
    ["an array as JSON", { arrayValue: { values: [{ intValue: "9007199254740993" }, {}] } }, "[9007199254740993,null]"],
    [
      "what JSON has no number for as JSON strings",
      { arrayValue: { values: [{ doubleValue: "Infinity" }, { bytesValue: "AA==" }] } },
      '["Infinity","AA=="]',
    ],
    [
      "maps within arrays",
      { arrayValue: { values: [{ kvlistValue: { values: [{ key: 'a"', value: { boolValue: false } }] } }] } },
      '[{"a\\"":false}]',
    ],
  ];
  it.each(bodies)("has for a body %s", (_name, body, expected) => {
    expect(bodyOf(body)).toBe(expected);
  });

  it("keeps an attribute that is called __proto__", () => {
    const [logs] = json(requestOf({ attributes: [{ key: "__proto__", value: { stringValue: "x" } }] }));
    expect(Object.entries(logs?.records[0]?.attributes ?? {})).toEqual([["__proto__", "x"]]);
  });

  it("has the attributes of a scope that stands behind its records", () => {
    const first = protobuf({ resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: { stringValue: "a" } }] }] }] });
    const scope = Buffer.from([0x0a, 3, 0x0a, 1, 0x73]);
    const scopeLogs = Buffer.concat([first.subarray(4), scope]);
    const resourceLogs = Buffer.concat([Buffer.from([0x12, scopeLogs.length]), scopeLogs]);
    const body = Buffer.concat([Buffer.from([0x0a, resourceLogs.length]), resourceLogs]);
    expect(decodeOtlpLogs(body, PROTOBUF)[0]?.records).toMatchObject([{ scopeName: "s", body: "a" }]);
  });

  it("of bytes that are no UTF-8 is taken, with U+FFFD in their place", () => {
    const body = protobuf(requestOf({ body: { stringValue: "abc" } }));
    body[body.indexOf("abc") + 1] = 0xff;
    expect(decodeOtlpLogs(body, PROTOBUF)[0]?.records[0]?.body).toBe("a\ufffdc");
  });

  it("in JSON with half a surrogate pair is taken", () => {
    const body = Buffer.from(
      String.raw`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a\ud83d"}}]}]}]}`,
    );
    expect(decodeOtlpLogs(body, JSON_TYPE)[0]?.records[0]?.body).toBe("a\ufffd");
  });
});

describe("a body", () => {
  it("in JSON ignores fields that are not known", () => {
    expect(
      json({ ...EXAMPLE, more: 1, resourceLogs: EXAMPLE.resourceLogs.map((logs) => ({ ...logs, x: {} })) }),
    ).toEqual(json(EXAMPLE));
  });

  const malformed: readonly [string, Buffer, string, RegExp][] = [
    ["JSON that is cut", Buffer.from('{"resourceLogs":['), JSON_TYPE, /OTLP\/JSON: Unexpected end/],
    ["a list", Buffer.from("[]"), JSON_TYPE, /expected object/],
    [
      "a time that is no number",
      Buffer.from(JSON.stringify(requestOf({ timeUnixNano: "now" }))),
      JSON_TYPE,
      /timeUnixNano: .*"now"/,
    ],
    [
      "a negative time",
      Buffer.from(JSON.stringify(requestOf({ timeUnixNano: "-1" }))),
      JSON_TYPE,
      /timeUnixNano: out of range/,
    ],
    [
      "an id that is not hexadecimal",
      Buffer.from(JSON.stringify(requestOf({ traceId: "xyz" }))),
      JSON_TYPE,
      /traceId: expected hexadecimal/,
    ],
    ["text for protobuf", Buffer.from("hello"), PROTOBUF, /protobuf/],
    ["a length beyond the end", Buffer.from([0x0a, 0xff, 0x01]), PROTOBUF, /cut short: 255 bytes/],
    ["a length of two gigabytes", Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x07]), PROTOBUF, /cut short/],
  ];
  it.each(malformed)("of %s is refused with its place", (_name, body, contentType, message) => {
    const refusal = whyNot(() => decodeOtlpLogs(body, contentType));
    expect(refusal.status).toBe(400);
    expect(refusal.message).toMatch(message);
  });

  it("of another content type is refused with 415", () => {
    expect(whyNot(() => decodeOtlpLogs(Buffer.alloc(0), "text/plain")).status).toBe(415);
  });

  it("that nests values to the limit is taken, one level more is refused, and a hundred thousand are refused too", () => {
    const nested = (levels: number): Buffer => {
      let value: Buffer = Buffer.from([0x10, 1]);
      for (let level = 0; level < levels; level++) value = field(5, field(1, value));
      return field(1, field(2, field(2, field(5, value))));
    };
    expect(decodeOtlpLogs(nested(ANY_VALUE_DEPTH_MAX), PROTOBUF)[0]?.records[0]?.body).toBe(
      `${"[".repeat(ANY_VALUE_DEPTH_MAX)}true${"]".repeat(ANY_VALUE_DEPTH_MAX)}`,
    );
    for (const levels of [ANY_VALUE_DEPTH_MAX + 1, 3000]) {
      expect(whyNot(() => decodeOtlpLogs(nested(levels), PROTOBUF))).toMatchObject({ status: 400 });
    }
    const text = `{"arrayValue":{"values":[`.repeat(100_000);
    const deep = Buffer.from(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":${text}`);
    expect(whyNot(() => decodeOtlpLogs(deep, JSON_TYPE)).status).toBe(400);
    const closed = Buffer.from(
      `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":${text}{}${"]}}".repeat(100_000)}}]}]}]}`,
    );
    expect(whyNot(() => decodeOtlpLogs(closed, JSON_TYPE)).status).toBe(400);
  });

  it("of more records than memory should hold is refused with 413, however few bytes they take", () => {
    const resources = Buffer.alloc(1_000_000, Buffer.from([0x0a, 0x00]));
    expect(whyNot(() => decodeOtlpLogs(resources, PROTOBUF)).status).toBe(413);
    const records = field(1, field(2, Buffer.alloc(1_000_000, Buffer.from([0x12, 0x00]))));
    expect(whyNot(() => decodeOtlpLogs(records, PROTOBUF)).status).toBe(413);
    const objects = Buffer.from(`{"resourceLogs":[${"{},".repeat(JSON_OBJECTS_MAX)}{}]}`);
    expect(whyNot(() => decodeOtlpLogs(objects, JSON_TYPE)).status).toBe(413);
    expect(whyNot(() => decodeOtlpLogs(Buffer.alloc(JSON_BYTES_MAX + 1, " "), JSON_TYPE)).status).toBe(413);
  });

  it("that is cut anywhere or has bytes changed is refused or read, and nothing else happens", () => {
    const whole = protobuf(EXAMPLE_FOR_PROTOBUF);
    for (let length = 0; length < whole.length; length++) {
      expect([200, 400]).toContain(whyNot(() => decodeOtlpLogs(whole.subarray(0, length), PROTOBUF)).status);
    }
    const change = fc.tuple(fc.nat({ max: whole.length - 1 }), fc.nat({ max: 255 }));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), (changes) => {
        const changed = Buffer.from(whole);
        for (const [at, byte] of changes) changed[at] = byte;
        expect([200, 400]).toContain(whyNot(() => decodeOtlpLogs(changed, PROTOBUF)).status);
      }),
      { numRuns: 500 },
    );
  });
});

const field = (number: number, value: Buffer): Buffer => {
  const length: number[] = [];
  for (let rest = value.length; ; rest >>>= 7) {
    if (rest < 128) {
      length.push(rest);
      break;
    }
    length.push((rest & 127) | 128);
  }
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), value]);
};

const EXAMPLE_FOR_PROTOBUF = (() => {
  const copy = structuredClone(EXAMPLE);
  const record = copy.resourceLogs[0]?.scopeLogs[0]?.logRecords[0];
  if (record !== undefined) {
    record.traceId = Buffer.from(record.traceId, "hex").toString("base64");
    record.spanId = Buffer.from(record.spanId, "hex").toString("base64");
  }
  return copy;
})();

describe("the low-level reader", () => {
  const anyValue = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      fc.record({ stringValue: fc.string({ unit: "binary", maxLength: 60 }) }),
      fc.record({ boolValue: fc.boolean() }),
      fc.record({ intValue: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String) }),
      fc.record({ doubleValue: fc.double().map((value) => (Number.isFinite(value) ? value : String(value))) }),
      fc.record({ bytesValue: fc.uint8Array({ maxLength: 9 }).map((bytes) => Buffer.from(bytes).toString("base64")) }),
      fc.constant({}),
      fc.record({ arrayValue: fc.record({ values: fc.array(tie("value"), { maxLength: 3 }) }) }),
      fc.record({ kvlistValue: fc.record({ values: fc.array(tie("keyValue"), { maxLength: 3 }) }) }),
    ),
    keyValue: fc.record({ key: fc.string({ unit: "binary", maxLength: 12 }), value: tie("value") }),
  }));
  const attributes = fc.array(anyValue.keyValue, { maxLength: 4 });
  const nano = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String);
  const hexId = fc.uint8Array({ maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString("hex"));
  const request = fc.record({
    resourceLogs: fc.array(
      fc.record({
        resource: fc.record({ attributes }),
        scopeLogs: fc.array(
          fc.record({
            scope: fc.record({
              name: fc.string({ unit: "binary" }),
              version: fc.string({ unit: "binary" }),
              attributes,
            }),
            logRecords: fc.array(
              fc.record({
                timeUnixNano: nano,
                observedTimeUnixNano: nano,
                severityNumber: fc.integer({ min: 0, max: 24 }),
                severityText: fc.string({ unit: "binary" }),
                body: anyValue.value,
                attributes,
                droppedAttributesCount: fc.nat({ max: 3 }),
                flags: fc.nat({ max: 1023 }),
                traceId: hexId,
                spanId: hexId,
                eventName: fc.string({ unit: "binary" }),
              }),
              { maxLength: 3 },
            ),
          }),
          { maxLength: 2 },
        ),
      }),
      { maxLength: 2 },
    ),
  });

  it("reads what the published definitions say, whatever the request", () => {
    fc.assert(
      fc.property(request, (given) => {
        expect(json(given)).toEqual(reference(given as unknown as Reference));
      }),
      { numRuns: 150 },
    );
  });
});

/** The mapping once more, from the JSON and in the plainest words. */
interface Reference {
  resourceLogs: {
    resource: { attributes: KeyValue[] };
    scopeLogs: {
      scope: { name: string; version: string; attributes: KeyValue[] };
      logRecords: (Record<string, string & number> & { body: Value; attributes: KeyValue[] })[];
    }[];
  }[];
}
type KeyValue = { key: string; value: Value };
type Value = Record<string, unknown>;

const number = (value: unknown): string => String(Number(value));

const textOf = (value: Value): string => {
  if ("stringValue" in value) return String(value.stringValue);
  if ("doubleValue" in value) return number(value.doubleValue);
  if ("bytesValue" in value) return String(value.bytesValue);
  return Object.keys(value).length === 0 ? "" : jsonOf(value);
};

const jsonOf = (value: Value): string => {
  if ("intValue" in value || "boolValue" in value) return String(value.intValue ?? value.boolValue);
  if ("doubleValue" in value) {
    return Number.isFinite(Number(value.doubleValue))
      ? number(value.doubleValue)
      : JSON.stringify(number(value.doubleValue));
  }
  if ("arrayValue" in value) return `[${(value.arrayValue as { values: Value[] }).values.map(jsonOf).join(",")}]`;
  if ("kvlistValue" in value) {
    const entries = (value.kvlistValue as { values: KeyValue[] }).values;
    return `{${entries.map((entry) => `${JSON.stringify(entry.key)}:${jsonOf(entry.value)}`).join(",")}}`;
  }
  return Object.keys(value).length === 0 ? "null" : JSON.stringify(textOf(value));
};

const map = (list: readonly KeyValue[], prefix = ""): Record<string, string> =>
  Object.fromEntries(list.map(({ key, value }) => [prefix + key, textOf(value)]));

const reference = ({ resourceLogs }: Reference): ResourceLogs[] =>
  resourceLogs.map(({ resource, scopeLogs }) => {
    const attributes = map(resource.attributes);
    const host = attributes["host.name"] ?? "";
    const service = attributes["service.name"] ?? "";
    const records = scopeLogs.flatMap(({ scope, logRecords }) =>
      logRecords.map((record) => ({
        timeUnixNano: BigInt(record.timeUnixNano ?? 0),
        observedUnixNano: BigInt(record.observedTimeUnixNano ?? 0),
        severityNumber: record.severityNumber ?? 0,
        severityText: record.severityText ?? "",
        eventName: record.eventName ?? "",
        scopeName: scope.name,
        traceId: record.traceId ?? "",
        spanId: record.spanId ?? "",
        traceFlags: (record.flags ?? 0) % 256,
        body: textOf(record.body),
        attributes: {
          ...(scope.version === "" ? {} : { "otel.scope.version": scope.version }),
          ...map(scope.attributes, "otel.scope."),
          ...map(record.attributes),
          ...(record.droppedAttributesCount === 0
            ? {}
            : { "otel.dropped_attributes_count": String(record.droppedAttributesCount) }),
        },
      })),
    );
    return { resource: { host, service, attributes }, records };
  });
