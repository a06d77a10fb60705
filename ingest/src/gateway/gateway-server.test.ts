import { randomBytes } from "node:crypto";
import { constants, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { compressSync } from "snappy";
import { describe, expect, it, onTestFinished } from "vitest";
import { authenticator } from "./authenticate.ts";
import { unreachable } from "./gateway.fixture.ts";
import { runServer, type ServerRun, TOKEN } from "./gateway-server.fixture.ts";

const MIB = 1_048_576;
/** Short, because a test waits for it; what is awaited is the answer. */
const SHORT = { commit_timeout_ms: 20 };
const base64 = (text: string): string => Buffer.from(text).toString("base64");

const startServer = async (...config: Parameters<typeof runServer>): Promise<ServerRun> => {
  const run = await runServer(...config);
  onTestFinished(() => run.stop());
  return run;
};

/** Until the bus was asked this often to take batches. */
const attempts = async ({ bus }: ServerRun, count: number): Promise<void> => {
  let isOver = false;
  onTestFinished(() => {
    isOver = true;
  });
  while (bus.attempts < count && !isOver) await new Promise((resolve) => setImmediate(resolve));
};

describe("an acknowledgement", () => {
  it("comes when the bus has the records, and not before", async () => {
    const run = await startServer();
    const response = await run.post("a\nb");
    expect([response.status, await response.text()]).toEqual([200, "2 lines"]);
    expect(run.bus.bodies).toEqual(["a", "b"]);
  });

  it("does not come while the bus is down: 503, and the retry joins, so that each record is on the bus once", async () => {
    const run = await startServer({}, SHORT);
    run.bus.fault = unreachable;
    for (let attempt = 0; attempt < 3; attempt++) {
      const response = await run.post("a\nb");
      expect(response.status).toBe(503);
      expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
      expect(await response.text()).toMatch(/^lines: the bus has not taken it yet/);
    }
    expect(run.bus.bodies).toEqual([]);
    run.bus.fault = undefined;
    const response = await run.post("a\nb");
    expect([response.status, await response.text()]).toEqual([200, "2 lines"]);
    expect(run.bus.bodies).toEqual(["a", "b"]);
  });

  it("of a retry that is compressed otherwise joins too, and of another sender does not", async () => {
    const run = await startServer({}, SHORT);
    run.bus.fault = unreachable;
    expect((await run.post("a")).status).toBe(503);
    expect((await run.post(gzipSync("a"), { "content-encoding": "gzip" })).status).toBe(503);
    expect((await run.post("a", { authorization: "Bearer token-of-another" })).status).toBe(503);
    run.bus.fault = undefined;
    expect((await run.post("a")).status).toBe(200);
    expect((await run.post("a", { authorization: "Bearer token-of-another" })).status).toBe(200);
    expect(run.bus.bodies).toEqual(["a", "a"]);
  });

  it("that nobody heard is given to the retry: the sender hung up before the bus had the records", async () => {
    const run = await startServer();
    const open = Promise.withResolvers<void>();
    run.bus.fault = () => open.promise;
    const hangUp = new AbortController();
    const head = `POST /lines HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKEN}\r\ncontent-type: text/plain\r\ncontent-length: 1\r\n\r\na`;
    const gone = run.raw([head], { signal: hangUp.signal });
    await attempts(run, 1);
    hangUp.abort();
    expect(await gone).toBe("");
    await run.disconnected();
    const retry = run.post("a");
    open.resolve();
    expect((await retry).status).toBe(200);
    expect(run.bus.bodies).toEqual(["a"]);
  });

  it("that was heard is forgotten: the same body after it is new", async () => {
    const run = await startServer();
    expect((await run.post("a")).status).toBe(200);
    expect((await run.post("a")).status).toBe(200);
    expect(run.bus.bodies).toEqual(["a", "a"]);
  });

  it("does not come when there is no room: 429 with Retry-After, and everything once in the end", async () => {
    const run = await startServer({}, { ...SHORT, in_flight_bytes_max: MIB });
    run.bus.fault = unreachable;
    const bodies = Array.from({ length: 30 }, (_, index) => `${index} ${randomBytes(100_000).toString("base64")}`);
    const statuses = new Map<string, number>();
    for (const body of bodies) statuses.set(body, (await run.post(body)).status);
    expect(new Set(statuses.values())).toEqual(new Set([503, 429]));
    expect(run.gateway.status().heldBytes).toBeLessThan(2 * MIB);
    run.bus.fault = undefined;
    for (const body of bodies) expect((await run.post(body)).status).toBe(200);
    const numbers = run.bus.bodies.map((body) => Number.parseInt(body, 10));
    expect(numbers.toSorted((a, b) => a - b)).toEqual(bodies.map((_, index) => index));
  });

  it("is refused in the protocol's own form for a body that is malformed, and nothing of it is kept", async () => {
    const run = await startServer();
    const response = await run.post("a\n!");
    expect([response.status, await response.text()]).toEqual([400, "lines: line !: want a word"]);
    expect(run.gateway.status().heldBytes).toBe(0);
    expect(run.bus.bodies).toEqual([]);
  });
});

describe("a sender", () => {
  it.each([
    ["Bearer", `Bearer ${TOKEN}`],
    ["Basic", `Basic ${base64(`shipper:${TOKEN}`)}`],
    ["ApiKey of name and token", `ApiKey ${base64(`shipper:${TOKEN}`)}`],
    ["ApiKey of the token alone", `ApiKey ${TOKEN}`],
    ["a scheme in other letters", `bearer ${TOKEN}`],
  ])("is known by %s", (_name, authorization) => {
    const authenticate = authenticator([
      { name: "other", token: "token-of-another" },
      { name: "shipper", token: TOKEN },
    ]);
    expect(authenticate(authorization)).toBe("shipper");
  });

  it.each([
    ["no header", ""],
    ["no token", "Bearer "],
    ["a wrong token", "Bearer wrong"],
    ["another's name", `Basic ${base64(`other:${TOKEN}`)}`],
    ["no name", `Basic ${base64(`:${TOKEN}`)}`],
    ["what is not base64 of a pair", "Basic !!!!"],
    ["an unknown scheme", `Digest ${TOKEN}`],
    ["a header without end", `Bearer ${"x".repeat(5000)}`],
  ])("is refused with %s, before its body is read", async (_name, authorization) => {
    const run = await startServer();
    const response = await run.post("a", { authorization });
    expect([response.status, response.headers.get("x-refused")]).toEqual([401, "401"]);
    expect(response.headers.get("www-authenticate")).toMatch(/Basic/);
    expect(run.gateway.status().receivers).toEqual([
      { receiver: "lines", sender: "", requests: 0, accepted: 0, rejected: { http_401: 1 } },
    ]);
  });

  it("may ask for health without a token, and learns no more than that", async () => {
    const run = await startServer();
    expect(await (await fetch(`${run.url}/healthz`)).text()).toBe("ok\n");
    expect((await fetch(`${run.url}/`)).status).toBe(404);
  });

  it("has a token that fits every scheme", () => {
    expect(() => authenticator([{ name: "a", token: "too short" }])).toThrow(/token of the sender a: want 16 to 512/);
    expect(() => authenticator([{ name: "a", token: "a token with spaces" }])).toThrow(/visible ASCII/);
  });

  it("shares its token with nobody", () => {
    const token = "the-same-for-both";
    expect(() =>
      authenticator([
        { name: "a", token },
        { name: "b", token },
      ]),
    ).toThrow(/same token/);
  });
});

const CODINGS = [
  ["gzip", (body: Buffer) => gzipSync(body)],
  ["deflate", (body: Buffer) => deflateSync(body)],
  ["zstd", (body: Buffer) => zstdCompressSync(body)],
  ["snappy", (body: Buffer) => Buffer.from(compressSync(body))],
] as const;

describe.each(CODINGS)("a body in %s", (encoding, compress) => {
  const noisy = (bytes: number) => Buffer.from(randomBytes(bytes).toString("base64").slice(0, bytes));

  it.each([5, 40_000, 1_500_000])("of %d bytes comes as it was sent", async (bytes) => {
    const run = await startServer({}, { in_flight_bytes_max: 64 * MIB });
    const body = noisy(bytes)
      .toString()
      .replace(/.{1000}/g, "$&\n");
    const response = await run.post(compress(Buffer.from(body)), { "content-encoding": encoding });
    expect(response.status).toBe(200);
    expect(run.bus.bodies.join("\n")).toBe(body);
    expect(run.gateway.status().heldBytes).toBe(0);
  });

  it("that is a bomb is refused at the cap, and its memory given back", async () => {
    const run = await startServer({ uncompressed_bytes_max: 2 * MIB });
    const response = await run.post(compress(Buffer.alloc(20 * MIB)), { "content-encoding": encoding });
    expect(response.status).toBe(413);
    expect(await response.text()).toMatch(/more than 2097152 bytes/);
    expect(run.gateway.status().heldBytes).toBe(0);
  });

  it("that is cut short or no such body is refused", async () => {
    const run = await startServer();
    for (const size of [1000, 100_000]) {
      const whole = compress(noisy(size));
      const cut = await run.post(whole.subarray(0, whole.length / 2), { "content-encoding": encoding });
      expect(cut.status).toBe(400);
    }
    const none = await run.post("\x07this is none", { "content-encoding": encoding });
    expect(none.status).toBe(400);
    expect(run.bus.bodies).toEqual([]);
    expect(run.gateway.status().heldBytes).toBe(0);
  });
});

describe("the server refuses", () => {
  it("a coding that it does not know", async () => {
    const run = await startServer();
    expect((await run.post("a", { "content-encoding": "br" })).status).toBe(415);
    expect((await run.post("a", { "content-encoding": "constructor" })).status).toBe(415);
  });

  it("a snappy block that claims more than it can hold, without allocating it", async () => {
    const run = await startServer();
    const claims60MiB = Buffer.from([0x80, 0x80, 0x80, 0x1e, 0x00, 0x61]);
    const response = await run.post(claims60MiB, { "content-encoding": "snappy" });
    expect([response.status, await response.text()]).toEqual([400, expect.stringMatching(/cannot hold the 62914560/)]);
  });

  it("a zstd frame that wants a window of 64 MiB", async () => {
    const run = await startServer();
    const params = { [constants.ZSTD_c_windowLog]: 26, [constants.ZSTD_c_enableLongDistanceMatching]: 1 };
    const body = zstdCompressSync(Buffer.alloc(60 * MIB, "x"), { params });
    expect((await run.post(body, { "content-encoding": "zstd" })).status).toBe(400);
  });

  it("a body beyond body_bytes_max, told or not, and closes the connection", async () => {
    const run = await startServer({ body_bytes_max: 1024 });
    const told = await run.post("x".repeat(1025));
    expect([told.status, told.headers.get("connection")]).toEqual([413, "close"]);
    const head = `POST /lines HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKEN}\r\ntransfer-encoding: chunked\r\n\r\n`;
    const chunk = `400\r\n${"x".repeat(1024)}\r\n`;
    expect(await run.raw([head, chunk, chunk])).toMatch(/^HTTP\/1.1 413 /);
    expect(run.gateway.status().heldBytes).toBe(0);
  });

  it("a head that trickles, within headers_timeout_ms", async () => {
    const run = await startServer({ http: { headers_timeout_ms: 100, request_timeout_ms: 200 } });
    expect(await run.raw(["POST /lines HTTP/1.1\r\nhost: x\r\nx-slow: "])).toMatch(/^HTTP\/1.1 408 /);
  });

  it("a body that never ends, or is shorter than its Content-Length, within request_timeout_ms", async () => {
    const run = await startServer({ http: { headers_timeout_ms: 100, request_timeout_ms: 200 } });
    const head = `POST /lines HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKEN}\r\n`;
    const answers = await Promise.all([
      run.raw([`${head}content-length: 1000\r\n\r\nshort`]),
      run.raw([`${head}transfer-encoding: chunked\r\n\r\n1\r\nx\r\n`]),
    ]);
    for (const answer of answers) expect(answer).toMatch(/^HTTP\/1.1 408 |^$/);
    expect(run.bus.bodies).toEqual([]);
    expect(run.gateway.status().heldBytes).toBe(0);
  });

  it("trickling, oversized and unending requests each end in a finding, counted once by sender and status", async () => {
    const run = await startServer({
      body_bytes_max: 1024,
      http: { headers_timeout_ms: 1_000, request_timeout_ms: 2_000 },
    });
    const head = `POST /lines HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKEN}\r\n`;
    const three = (part: string) => Array.from({ length: 3 }, () => run.raw([part]));
    await Promise.all([
      ...three(`${head}content-length: 1000\r\n\r\nshort`),
      ...three("POST /lines HTTP/1.1\r\nx-slow: "),
    ]);
    for (let times = 0; times < 3; times++)
      await run.post("x".repeat(1025), { authorization: "Bearer token-of-another" });
    await run.disconnected();
    await run.gateway.check();
    expect(run.findings.map(({ entity, labels }) => [entity.host, labels.reason]).toSorted()).toEqual([
      ["peer:127.0.0.1", "http_408"],
      ["sender:other", "http_413"],
      ["sender:shipper", "http_408"],
    ]);
    expect(run.gateway.status().receivers).toEqual(
      expect.arrayContaining([
        { receiver: "http", sender: "", requests: 0, accepted: 0, rejected: { http_408: 3 } },
        { receiver: "lines", sender: "shipper", requests: 0, accepted: 0, rejected: { http_408: 3 } },
        { receiver: "lines", sender: "other", requests: 0, accepted: 0, rejected: { http_413: 3 } },
      ]),
    );
  });

  it.each([
    ["both a length and chunks", "content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400],
    ["two lengths", "content-length: 1\r\ncontent-length: 2\r\n\r\nab", 400],
    ["10,000 headers", `${"x-a: b\r\n".repeat(10_000)}\r\n`, 431],
    ["a list of codings", "content-encoding: gzip, zstd\r\ncontent-length: 1\r\nconnection: close\r\n\r\na", 415],
    ["a chunk extension without end", `transfer-encoding: chunked\r\n\r\n1;${"x".repeat(40_000)}`, 413],
  ])("a request with %s, and tells which", async (_name, rest, status) => {
    const run = await startServer();
    const answer = await run.raw([`POST /lines HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKEN}\r\n${rest}`]);
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(run.bus.bodies).toEqual([]);
    const counted = run.gateway
      .status()
      .receivers.reduce((sum, { rejected }) => sum + (rejected[`http_${status}`] ?? 0), 0);
    expect(counted).toBe(1);
  });

  it("what follows a body that is longer than its Content-Length", async () => {
    const run = await startServer();
    const head = `POST /lines HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKEN}\r\n`;
    const answer = await run.raw([`${head}content-length: 1\r\n\r\na and more that nobody asked for\r\n\r\n`]);
    expect(answer).toMatch(/HTTP\/1.1 400 /);
    expect(["", "a"]).toContain(run.bus.bodies.join());
  });

  it("connections beyond connections_max", async () => {
    const run = await startServer({ http: { connections_max: 2, headers_timeout_ms: 200 } });
    const slow = [run.raw(["POST"]), run.raw(["POST"])];
    expect(await run.raw(["POST"])).toBe("");
    await Promise.all(slow);
  });
});
