import fc from "fast-check";
import { compressSync } from "snappy";
import { describe, expect, it } from "vitest";
import { NOW } from "../../gateway/gateway.fixture.ts";
import { RequestError } from "../../gateway/receiver-route.ts";
import { rowsOf, startReceiver } from "../otlp/receiver.fixture.ts";
import { pushRequestType } from "./definitions.fixture.ts";
import { lokiReceiver } from "./loki-receiver.ts";
import { decodeLokiPush, JSON_TYPE, PROTOBUF } from "./push-request.ts";
import { parseStreamLabels } from "./stream-labels.ts";

const PATH = "/loki/api/v1/push";
const nano = (offsetMs: number): string => `${NOW + offsetMs}000007`;
const LABELS = { host: "web-1", job: "nginx", level: "warn" };
const TRACE = "0123456789abcdef0123456789abcdef";

const inJson = (values: readonly unknown[], stream: Record<string, string> = LABELS): Buffer =>
  Buffer.from(JSON.stringify({ streams: [{ stream, values }] }));

interface WireEntry {
  timestamp: { seconds: number; nanos: number };
  line: Buffer;
  structuredMetadata?: { name: string; value: string }[];
}
const inProtobuf = (labels: string, entries: readonly WireEntry[]): Buffer => {
  const message = pushRequestType.fromObject({ streams: [{ labels, entries }] });
  return Buffer.from(pushRequestType.encode(message).finish());
};
const entry = (line: string | Buffer, structuredMetadata: WireEntry["structuredMetadata"] = []): WireEntry => ({
  timestamp: { seconds: NOW / 1000, nanos: 7 },
  line: Buffer.from(line),
  structuredMetadata,
});
const snappy = (body: Buffer): Buffer => Buffer.from(compressSync(body));

const refusalOf = (decode: () => unknown): RequestError => {
  try {
    decode();
  } catch (error) {
    if (error instanceof RequestError) return error;
    throw error;
  }
  throw new Error("it was taken");
};

describe("a push", () => {
  const row = {
    timestamp: BigInt(nano(0)),
    severity_number: 13,
    severity_text: "warn",
    host_name: "web-1",
    service_name: "nginx",
    body: "GET /",
    trace_id: TRACE,
    attributes: { pod: "a" },
  };
  const metadata = [
    { name: "trace_id", value: TRACE },
    { name: "pod", value: "a" },
  ];
  const labels = '{host="web-1", job="nginx", level="warn"}';
  const pushes: readonly [string, Buffer, string][] = [
    ["JSON", inJson([[nano(0), "GET /", { trace_id: TRACE, pod: "a" }]]), `${JSON_TYPE}; charset=utf-8`],
    ["protobuf in a snappy block", snappy(inProtobuf(labels, [entry("GET /", metadata)])), PROTOBUF],
  ];
  it.each(pushes)("in %s is answered 204 when its entries are on the bus", async (_name, body, contentType) => {
    const run = startReceiver(lokiReceiver);
    const answer = await run.send({ path: PATH, body, headers: { "content-type": contentType } });
    expect([answer.status, answer.body.toString()]).toEqual([204, ""]);
    expect(rowsOf(run.bus, "logs")).toMatchObject([row]);
    expect(rowsOf(run.bus, "log_resources")).toMatchObject([
      { attributes: { ...LABELS, "host.name": "web-1", "service.name": "nginx" } },
    ]);
  });

  it("whose snappy block is told as a content encoding is taken too", async () => {
    const run = startReceiver(lokiReceiver);
    const headers = { "content-type": PROTOBUF, "content-encoding": "snappy" };
    const answer = await run.send({ path: PATH, body: snappy(inProtobuf(labels, [entry("a")])), headers });
    expect(answer.status).toBe(204);
    expect(run.bus.bodies).toEqual(["a"]);
  });

  it("with entries that are too old keeps the others and says 400 in plain text", async () => {
    const run = startReceiver(lokiReceiver);
    const body = inJson([
      [nano(-30 * 86_400_000), "old"],
      [nano(0), "new"],
      ["-5", "before 1970"],
    ]);
    const answer = await run.send({ path: PATH, body, headers: { "content-type": JSON_TYPE } });
    expect(answer.status).toBe(400);
    expect(answer.headers["content-type"]).toBe("text/plain; charset=utf-8");
    expect(answer.body.toString()).toBe("of 3 entries these were refused: 2 late\n");
    expect(run.bus.bodies).toEqual(["new"]);
  });

  it("of lines that are no UTF-8 is taken, with U+FFFD in their place", () => {
    const body = snappy(inProtobuf("{}", [entry(Buffer.from([0x61, 0xff, 0x62]))]));
    expect(decodeLokiPush(body, PROTOBUF)[0]?.entries[0]?.line).toBe("a\ufffdb");
  });

  const malformed: readonly [string, Buffer, string, RegExp][] = [
    ["JSON that is cut", Buffer.from('{"streams":'), JSON_TYPE, /Unexpected end/],
    ["no streams", Buffer.from("{}"), JSON_TYPE, /streams: expected an array, got nothing/],
    ["a time that is a number", inJson([[1, "a"]]), JSON_TYPE, /streams\[0\]\.values\[0\]\[0\]: expected nanoseconds/],
    ["a line that is none", inJson([["1", { a: 1 }]]), JSON_TYPE, /values\[0\]\[1\]: expected a string, got an object/],
    [
      "metadata that is a number",
      inJson([["1", "a", { n: 1 }]]),
      JSON_TYPE,
      /values\[0\]\[2\]\.n: expected a string, got 1/,
    ],
    ["no snappy block", Buffer.from([0x05, 0xff]), PROTOBUF, /couldn't parse push request/],
    ["nothing at all", Buffer.alloc(0), PROTOBUF, /length is cut short/],
    ["labels that are none", snappy(inProtobuf('{a="b"', [])), PROTOBUF, /labels "\{a=\\"b\\""/],
  ];
  it.each(malformed)("of %s is refused with its place", (_name, body, contentType, message) => {
    const refusal = refusalOf(() => decodeLokiPush(body, contentType));
    expect(refusal.status).toBe(400);
    expect(refusal.message).toMatch(message);
  });

  it("that claims to unpack to gigabytes is refused before it is unpacked", () => {
    const bomb = Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f]), Buffer.alloc(100)]);
    expect(refusalOf(() => decodeLokiPush(bomb, PROTOBUF)).status).toBe(413);
  });

  it("of more than memory should hold is refused, in both encodings", () => {
    const stream = Buffer.alloc(1_000_000, Buffer.from([0x12, 0x00]));
    const body = Buffer.concat([Buffer.from([0x0a, 0xc0, 0x84, 0x3d]), stream]);
    expect(refusalOf(() => decodeLokiPush(body, PROTOBUF, true)).status).toBe(413);
    const objects = Buffer.from(`{"streams":[${"{},".repeat(1_000_000)}{}]}`);
    expect(refusalOf(() => decodeLokiPush(objects, JSON_TYPE)).status).toBe(413);
  });

  it("of another content type is refused with 415", () => {
    expect(refusalOf(() => decodeLokiPush(Buffer.alloc(0), "text/plain")).status).toBe(415);
  });

  it("that is cut anywhere or has bytes changed is refused or read, and nothing else happens", () => {
    const whole = inProtobuf(labels, [entry("GET /", metadata), entry("b")]);
    const change = fc.tuple(fc.nat({ max: whole.length - 1 }), fc.nat({ max: 255 }));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 8 }), fc.nat({ max: whole.length }), (changes, length) => {
        const changed = Buffer.from(whole);
        for (const [at, byte] of changes) changed[at] = byte;
        try {
          decodeLokiPush(changed.subarray(0, length), PROTOBUF, true);
        } catch (error) {
          expect(error).toBeInstanceOf(RequestError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("a stream's labels", () => {
  const cases: readonly [string, Record<string, string>][] = [
    ["{}", {}],
    [' { a = "b" , c="d", } ', { a: "b", c: "d" }],
    ['{a="x\\"y\\\\z\\n\\u00e9\\x41\\101"}', { a: 'x"y\\z\né' + "AA" }],
    ['{a=`raw \\n "q"`}', { a: 'raw \\n "q"' }],
    ['{a="}"}', { a: "}" }],
  ];
  it.each(cases)("%s are read", (text, labels) => {
    expect(parseStreamLabels(text)).toEqual(labels);
  });

  it.each(["", "{", '{a="b"}}', '{a="b" c="d"}', "{a=b}", '{="b"}', '{a="b"},', '{"a"="b"}'])("%s are none", (text) => {
    expect(() => parseStreamLabels(text)).toThrow(SyntaxError);
  });

  it("come back as they were written, whatever the values", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.stringMatching(/^[a-z_]{1,6}$/), fc.string({ unit: "binary" })), (labels) => {
        const text = Object.entries(labels).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
        expect({ ...parseStreamLabels(`{${text.join(", ")}}`) }).toEqual({ ...labels });
      }),
      { numRuns: 300 },
    );
  });
});
