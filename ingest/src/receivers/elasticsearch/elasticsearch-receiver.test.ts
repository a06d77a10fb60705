import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NOW } from "../../gateway/gateway.fixture.ts";
import { RequestError } from "../../gateway/receiver-route.ts";
import { rowsOf, startReceiver } from "../otlp/receiver.fixture.ts";
import { DOCUMENT_LENGTH_MAX, decodeBulk, ITEMS_MAX } from "./bulk-request.ts";
import { dateNanoseconds } from "./date-nanoseconds.ts";
import { documentOf } from "./document.ts";
import { elasticsearchReceiver } from "./elasticsearch-receiver.ts";
import { FIELDS_MAX } from "./flat-fields.ts";

const NDJSON = { "content-type": "application/x-ndjson" };
const AT = new Date(NOW).toISOString();
const lines = (...values: readonly unknown[]): string =>
  values.map((value) => `${typeof value === "string" ? value : JSON.stringify(value)}\n`).join("");

const record = (document: Record<string, unknown>) => {
  const made = documentOf(document);
  if (typeof made === "string") throw new Error(made);
  return made;
};

describe("a document", () => {
  it("of Filebeat becomes a record, with the agent and its host as the resource", () => {
    const made = record({
      "@timestamp": "2025-10-09T08:53:20.123Z",
      message: "started",
      host: { name: "web-1", ip: ["10.0.0.1"], os: { family: "debian" } },
      agent: { type: "filebeat", version: "8.19.0" },
      log: { level: "WARN", file: { path: "/var/log/a.log" }, offset: 12 },
      service: { name: "shop" },
      trace: { id: "0123456789ABCDEF0123456789abcdef" },
      span: { id: "0123456789abcdef" },
      tags: ["a", 1],
      nothing: null,
      ok: true,
    });
    expect(made).toEqual({
      resource: {
        host: "web-1",
        service: "shop",
        attributes: {
          "host.name": "web-1",
          "host.ip": '["10.0.0.1"]',
          "host.os.family": "debian",
          "agent.type": "filebeat",
          "agent.version": "8.19.0",
          "service.name": "shop",
        },
      },
      record: {
        timeUnixNano: 1_760_000_000_123_000_000n,
        observedUnixNano: 0n,
        severityNumber: 13,
        severityText: "WARN",
        eventName: "",
        scopeName: "",
        traceId: "0123456789abcdef0123456789abcdef",
        spanId: "0123456789abcdef",
        traceFlags: 0,
        body: "started",
        attributes: { "log.file.path": "/var/log/a.log", "log.offset": "12", tags: '["a",1]', ok: "true" },
      },
    });
  });

  it("with dotted names is the same as with nested ones", () => {
    expect(record({ "host.name": "h", "log.level": "error", message: "m" })).toEqual(
      record({ host: { name: "h" }, log: { level: "error" }, message: "m" }),
    );
  });

  it("of Fluent Bit and of Vector finds host, body and time where they put them", () => {
    expect(
      record({ "@timestamp": "2025-10-09T08:53:20.000Z", log: "a", kubernetes: { host: "n1", container_name: "c" } }),
    ).toMatchObject({
      resource: { host: "n1", service: "c" },
      record: { body: "a", attributes: {} },
    });
    expect(
      record({ timestamp: "2025-10-09T08:53:20.123456789Z", message: "b", host: "web-1", source_type: "file" }),
    ).toMatchObject({
      resource: { host: "web-1", attributes: { "host.name": "web-1" } },
      record: { timeUnixNano: 1_760_000_000_123_456_789n, body: "b", attributes: { source_type: "file" } },
    });
  });

  it("keeps ids that are no trace ids, and a field that is called __proto__", () => {
    const made = record(JSON.parse('{"trace":{"id":"abc"},"__proto__":"x"}'));
    expect(made.record.traceId).toBe("");
    expect(Object.entries(made.record.attributes)).toEqual([
      ["trace.id", "abc"],
      ["__proto__", "x"],
    ]);
  });

  it("that is nested too deeply is none, by objects as by arrays", () => {
    const deep = (open: string, close: string): Record<string, unknown> =>
      JSON.parse(`{"a":${open.repeat(5000)}1${close.repeat(5000)}}`);
    expect(documentOf(deep('{"b":', "}"))).toMatch(/nested deeper than 20/);
    expect(documentOf(deep("[", "]"))).toMatch(/nested deeper than 20/);
  });

  it("that has more fields than an index may have, or is larger than any record, is none", () => {
    const fields = Object.fromEntries(Array.from({ length: FIELDS_MAX + 1 }, (_, index) => [`f${index}`, 1]));
    expect(documentOf(fields)).toMatch(/more than 1000 fields/);
    const { f0: _one, ...others } = fields;
    expect(documentOf(others)).toBeTypeOf("object");
    const names = Object.fromEntries(Array.from({ length: 40_000 }, (_, index) => [`f${index}`, 1]));
    expect(decodeBulk(Buffer.from(lines({ create: {} }, names)))[0]?.outcome).toMatchObject({
      error: { reason: "a document of more than 4000 names" },
    });
    const [item] = decodeBulk(Buffer.from(lines({ create: {} }, { message: "x".repeat(DOCUMENT_LENGTH_MAX) })));
    expect(item?.outcome).toMatchObject({ error: { type: "mapper_parsing_exception" } });
  });

  const dates: readonly [string, bigint | null][] = [
    ["2025-10-09T08:53:20Z", 1_760_000_000_000_000_000n],
    ["2025-10-09T08:53:20.5", 1_760_000_000_500_000_000n],
    ["2025-10-09 08:53:20,000000001Z", 1_760_000_000_000_000_001n],
    ["2025-10-09T10:53:20.000000001+0200", 1_760_000_000_000_000_001n],
    ["2025-10-09T10:53:20+02", 1_760_000_000_000_000_000n],
    ["2025-10-09", 1_759_968_000_000_000_000n],
    ["1760000000000", 1_760_000_000_000_000_000n],
    ["1760000000000.25", 1_760_000_000_000_250_000n],
    ["yesterday", null],
    ["2025-13-09T00:00:00Z", null],
  ];
  it.each(dates)("has for the time %s", (text, expected) => {
    expect(dateNanoseconds(text)).toBe(expected);
  });
});

describe("POST /_bulk", () => {
  it("takes index and create, and says 201 for each when it is on the bus", async () => {
    const run = startReceiver(elasticsearchReceiver);
    const body = lines(
      { create: { _index: "logs" } },
      { "@timestamp": AT, message: "a", host: { name: "web-1" } },
      { index: { _index: "logs", _id: "7" } },
      { "@timestamp": AT, message: "b", host: { name: "web-1" } },
    );
    const answer = await run.send({
      path: "/_bulk",
      body: gzipSync(body),
      headers: { ...NDJSON, "content-encoding": "gzip" },
    });
    expect(answer.status).toBe(200);
    expect(answer.headers["x-elastic-product"]).toBe("Elasticsearch");
    expect(JSON.parse(answer.body.toString())).toMatchObject({
      errors: false,
      items: [
        { create: { _index: "logs", status: 201, result: "created" } },
        { index: { _index: "logs", _id: "7", status: 201 } },
      ],
    });
    expect(run.bus.bodies).toEqual(["a", "b"]);
    expect(rowsOf(run.bus, "log_resources")).toHaveLength(1);
  });

  it("says item by item what it could not take, and takes the others", async () => {
    const run = startReceiver(elasticsearchReceiver);
    const body = lines(
      { create: {} },
      { "@timestamp": AT, message: "good" },
      { create: {} },
      "{not json",
      { create: {} },
      { "@timestamp": "yesterday", message: "x" },
      { index: {} },
      { "@timestamp": "2001-01-01", message: "old" },
      { update: { _id: "1" } },
      { doc: {} },
      { delete: { _id: "1" } },
    );
    const answer = await run.send({ method: "PUT", path: "/logs/_bulk?filter_path=errors", body, headers: NDJSON });
    const mapper = { type: "mapper_parsing_exception", reason: expect.any(String) };
    const illegal = { type: "illegal_argument_exception", reason: expect.any(String) };
    expect(JSON.parse(answer.body.toString())).toEqual({
      took: 0,
      errors: true,
      items: [
        { create: { status: 201 } },
        { create: { status: 400, error: mapper } },
        { create: { status: 400, error: { ...mapper, reason: "failed to parse date field [yesterday]" } } },
        { index: { status: 400, error: { ...illegal, reason: "refused: late" } } },
        { update: { status: 400, error: illegal } },
        { delete: { status: 400, error: illegal } },
      ],
    });
    expect(run.bus.bodies).toEqual(["good"]);
    expect(run.gateway.status().receivers).toMatchObject([
      { accepted: 1, rejected: { malformed: 2, late: 1, unsupported_action: 2 } },
    ]);
  });

  const refused: readonly [string, string, number, RegExp][] = [
    ["nothing", "", 400, /body is required/],
    ["a last line without its end", '{"create":{}}\n{"message":"a"}', 400, /terminated by a newline/],
    ["an action that is none", lines({ drop: {} }, {}), 400, /action\/metadata line \[1\]/],
    ["two actions in one line", lines({ create: {}, index: {} }, {}), 400, /line \[1\]/],
    ["an action without a document", lines({ create: {} }), 400, /not followed by a document/],
  ];
  it.each(refused)("refuses %s as a whole", async (_name, body, status, reason) => {
    const run = startReceiver(elasticsearchReceiver);
    const answer = await run.send({ path: "/_bulk", body, headers: NDJSON });
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.body.toString())).toMatchObject({
      error: { type: "illegal_argument_exception", reason: expect.stringMatching(reason) },
      status,
    });
    expect(run.bus.messages).toEqual([]);
  });

  it("refuses more items, or empty lines, than a request may have", () => {
    expect(() => decodeBulk(Buffer.alloc(1_000_000, "\n"))).toThrow(RequestError);
    const body = Buffer.from('{"delete":{}}\n'.repeat(ITEMS_MAX + 1));
    expect(() => decodeBulk(body)).toThrow(RequestError);
  });

  it("reads or refuses whatever comes, and nothing else happens", () => {
    const whole = Buffer.from(lines({ create: {} }, { "@timestamp": AT, host: { name: "a" }, list: [1, { b: null }] }));
    const change = fc.tuple(fc.nat({ max: whole.length - 1 }), fc.nat({ max: 255 }));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 4 }), (changes) => {
        const changed = Buffer.from(whole);
        for (const [at, byte] of changes) changed[at] = byte;
        try {
          decodeBulk(changed);
        } catch (error) {
          expect(error).toBeInstanceOf(RequestError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("what shippers ask before they ship", () => {
  const probes: readonly ["GET" | "HEAD" | "PUT", string][] = [
    ["GET", "/"],
    ["HEAD", "/"],
    ["GET", "/_license?human=false"],
    ["GET", "/_xpack"],
    ["GET", "/_cluster/health"],
    ["HEAD", "/_index_template/filebeat-8.19.0"],
    ["GET", "/_index_template/filebeat-8.19.0"],
    ["PUT", "/_index_template/filebeat-8.19.0"],
    ["HEAD", "/_template/logstash"],
    ["PUT", "/_template/logstash"],
    ["GET", "/_ilm/policy/filebeat"],
    ["PUT", "/_ilm/policy/filebeat"],
    ["GET", "/_data_stream/logs-generic-default"],
    ["PUT", "/_data_stream/logs-generic-default"],
    ["GET", "/_ingest/pipeline/filebeat-nginx"],
    ["HEAD", "/_alias/filebeat"],
    ["HEAD", "/logs-2025.01.01"],
    ["PUT", "/%3Cfilebeat-%7Bnow%2Fd%7D-000001%3E"],
  ];
  it.each(probes)("%s %s is answered 200 with the product's header", async (method, path) => {
    const run = startReceiver(elasticsearchReceiver);
    const answer = await run.send({
      method,
      path,
      ...(method === "PUT" ? { body: "{}", headers: { "content-type": "application/json" } } : {}),
    });
    expect([answer.status, answer.headers["x-elastic-product"]]).toEqual([200, "Elasticsearch"]);
    if (method === "HEAD") expect(answer.body.length).toBe(0);
    else expect(JSON.parse(answer.body.toString())).toBeTypeOf("object");
  });

  it("is a version that Beats, Fluentd and Vector can read", async () => {
    const run = startReceiver(elasticsearchReceiver);
    const { version, tagline } = JSON.parse((await run.send({ method: "GET", path: "/" })).body.toString());
    expect([tagline, version.build_flavor]).toEqual(["You Know, for Search", "default"]);
    expect(version.number).toMatch(/^8\.\d+\.\d+$/);
  });

  it("is where the nodes are: where the client came to", async () => {
    const run = startReceiver(elasticsearchReceiver);
    const answer = await run.send({ method: "GET", path: "/_nodes/http", headers: { host: "intake:9200" } });
    expect(JSON.parse(answer.body.toString())).toMatchObject({
      nodes: { homeostat: { http: { publish_address: "intake:9200" } } },
    });
  });
});
