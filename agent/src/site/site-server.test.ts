import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { duplexPair } from "node:stream";
import { BatchBuilder, BusError } from "@homeostat/schemas";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Connection, type Frame } from "../channel/connection.ts";
import { CHUNK_BYTES_MAX, FRAME, FRAME_BYTES_MAX, jsonBody } from "../channel/frame.ts";
import type { ToAgent } from "../channel/messages.ts";
import { dialTls, type Resumable } from "../channel/tls-dial.ts";
import type { TlsIdentity } from "../channel/tls-identity.ts";
import { Fleet, SITE, until } from "./channel-fleet.fixture.ts";

let fleet: Fleet;
beforeEach(async () => {
  fleet = await Fleet.make();
});
afterEach(() => fleet.end());

/** A peer that says what a test wants it to. */
const rawPeer = async (server: string, identity: TlsIdentity | null) => {
  const expected = { kind: "site", site: SITE } as const;
  const { socket } = await dialTls({ server, identity, expected, now: Date.now });
  const frames: Frame[] = [];
  const closed: string[] = [];
  const connection = new Connection(socket, {
    frameBytesMax: FRAME_BYTES_MAX,
    queueBytesMax: 2 * FRAME_BYTES_MAX,
    onFrame: (type, body) => frames.push({ type, body: Buffer.from(body) }),
    onClose: (reason) => closed.push(reason),
  });
  fleet.onEnd(async () => connection.destroy("the test ends"));
  return { connection, socket, frames, closed };
};

const hello = (host: string) => jsonBody({ protocol: 1, host, agent_version: "0.0.0" });
const batchOf = (host: string, sequence: number): Uint8Array => {
  const builder = new BatchBuilder("metric_samples");
  builder.append({ metric_id: 1n, fingerprint: 2n, timestamp: 1_700_000_000_000, value: sequence });
  return builder.finish({ producer: `${host}/1`, sequence });
};
const samples = (host: string, sequence = 1) => [{ topic: "telemetry.metrics", value: batchOf(host, sequence) }];
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("an agent, a site server and control", () => {
  test("messages go both ways, sealed from end to end, and the clocks are compared", async () => {
    const server = await fleet.server("s1");
    const client = await fleet.agent("web-1", [server.address], { now: () => Date.now() + 90_000 });
    const heard: ToAgent[] = [];
    client.onMessage((message) => heard.push(message));
    await until(() => client.clockSkewMs !== null);
    expect(Math.abs((client.clockSkewMs ?? 0) - 90_000)).toBeLessThan(5_000);
    fleet.control.say("web-1", { type: "ack", command_ids: ["a.1"] });
    await until(() => heard.some(({ type }) => type === "ack"));
    expect(client.problem).toBeNull();
    expect(server.stats()).toMatchObject({ agents: 1, control: true });
  });

  test("a second connection of a host takes the place of the first", async () => {
    const server = await fleet.server("s1");
    const identity = await fleet.identity("agent", "web-1");
    // The one that lost waits: two machines with one identity take turns, more and more seldom.
    const backOff = { minMs: 60_000, maxMs: 60_000 };
    const first = await fleet.agent("web-1", [server.address], { identity: () => identity, backOff });
    const second = await fleet.agent("web-1", [server.address], { identity: () => identity });
    await until(() => first.state === "down");
    expect(second.state).toBe("sealed");
    expect(server.stats()).toMatchObject({ agents: 1, closed: { replaced: 1 } });
    await until(() => fleet.control.sessions.size === 1);
  });

  test("a ticket of one server is good at another that shares its keys", async () => {
    const ticketKeys = Buffer.alloc(48, 7);
    const servers = [await fleet.server("s1", { ticketKeys }), await fleet.server("s2", { ticketKeys })];
    const identity = await fleet.identity("agent", "web-1");
    let session: Resumable | undefined;
    const reused: boolean[] = [];
    for (const server of [...servers, ...servers]) {
      const onSession = (fresh: Resumable) => {
        session = fresh;
      };
      const expected = { kind: "site", site: SITE } as const;
      const { socket } = await dialTls({
        server: server.address,
        identity,
        expected,
        now: Date.now,
        session,
        onSession,
      });
      reused.push(socket.isSessionReused());
      const limits = { frameBytesMax: 1_000, queueBytesMax: 1_000 };
      const connection = new Connection(socket, { ...limits, onFrame: turn, onClose: turn });
      connection.send(FRAME.hello, hello("web-1"));
      await until(() => server.stats().agents === 1 && session !== undefined);
      connection.destroy("next");
      await until(() => server.stats().agents === 0);
    }
    expect(reused).toEqual([false, true, true, true]);
  });
});

describe("a site that is cut off from control", () => {
  test("keeps its agents, takes their batches, and catches up", async () => {
    const server = await fleet.server("s1");
    const client = await fleet.agent("web-1", [server.address]);
    fleet.isControlReachable = false;
    await fleet.control.restart();
    await until(() => client.problem === "the site is cut off from control");
    expect(server.stats()).toMatchObject({ agents: 1, control: false });
    await client.publish(samples("web-1"));
    expect(fleet.taken).toHaveLength(1);
    expect(client.send({ type: "clock", asked_at_unix_ms: 1 })).toBe(false);
    fleet.isControlReachable = true;
    await until(() => client.state === "sealed");
    expect(fleet.control.handshakes).toBe(2);
    expect(client.stats()).toMatchObject({ connects: 1, handshakes: 2 });
    expect(client.send({ type: "clock", asked_at_unix_ms: 1 })).toBe(true);
  });

  test("hears who is revoked in as many frames as it takes, however long the names", async () => {
    const names = Array.from({ length: 10_000 }, (_, n) => `${String(n).padStart(6, "0")}.${"x".repeat(100)}`);
    fleet.control.revoked.hosts.push(...names);
    const server = await fleet.server("s1");
    await until(() => server.stats().control);
    const last = names.at(-1) ?? "";
    const peer = await rawPeer(server.address, await fleet.identity("agent", last));
    peer.connection.send(FRAME.hello, hello(last));
    await until(() => peer.closed.length === 1);
    expect(server.stats().agents).toBe(0);
  });

  test("takes no batches while it has never heard who is revoked", async () => {
    fleet.isControlReachable = false;
    const server = await fleet.server("s1");
    const client = await fleet.client("web-1", [server.address]);
    client.start();
    await until(() => client.state === "connected");
    await expect(client.publish(samples("web-1"))).rejects.toMatchObject({ code: "unreachable" });
    expect(fleet.taken).toEqual([]);
    fleet.isControlReachable = true;
    await until(() => client.state === "sealed");
    await client.publish(samples("web-1"));
  });
});

describe("a revoked certificate", () => {
  test("is refused at connect, by serial and by host", async () => {
    fleet.control.revoked.hosts.push("web-1");
    const server = await fleet.server("s1");
    await until(() => server.stats().control);
    const client = await fleet.client("web-1", [server.address]);
    client.start();
    await until(() => client.problem?.includes("the certificate is revoked") === true);
    expect(server.stats()).toMatchObject({ agents: 0, refused: { revoked: 1 } });
  });

  test("is closed when the word comes, and nobody else", async () => {
    const server = await fleet.server("s1");
    const client = await fleet.agent("web-1", [server.address]);
    const other = await fleet.agent("web-2", [server.address]);
    fleet.control.revoked.hosts.push("web-1");
    fleet.control.uplinks.tellRevoked();
    await until(() => client.problem?.includes("the certificate is revoked") === true);
    expect(other.state).toBe("sealed");
    expect(server.stats()).toMatchObject({ agents: 1, closed: { revoked: 1 } });
  });

  test("of a site server closes its uplink", async () => {
    const port = await fleet.control.uplinks.listen({
      host: "127.0.0.1",
      port: 0,
      tls: await fleet.identity("control", "main"),
    });
    const identity = await fleet.identity("site", "s1");
    const dial = async () => {
      const expected = { kind: "control", site: null } as const;
      return (await dialTls({ server: `127.0.0.1:${port}`, identity, expected, now: Date.now })).socket;
    };
    const server = await fleet.server("s1", { uplink: dial, tls: identity });
    const client = await fleet.agent("web-1", [server.address]);
    expect(fleet.control.uplinks.servers()).toMatchObject([{ site: SITE, server: "s1", agents: 1 }]);
    fleet.control.barredServers.add("s1");
    fleet.control.uplinks.tellRevoked();
    await until(() => client.problem === "the site is cut off from control");
    expect(fleet.control.sessions.size).toBe(0);
  });
});

describe("peers that do not answer or do not read", () => {
  test("an agent gives up a server that says nothing, soon enough to be elsewhere within 10 s, and comes back", async () => {
    const server = await fleet.server("s1");
    const client = await fleet.agent("web-1", [server.address]);
    let periods = 0;
    // No turn of the event loop in between: nothing can be heard.
    for (; client.stats().ended.half_open === 0 && periods < 20; periods += 1) fleet.wheel.turn();
    expect(client.stats().ended.half_open).toBe(1);
    // Of a second each; the first wait is a second at most, and then it has one left to connect.
    expect(periods * 1_000 + 1_000).toBeLessThan(10_000);
    await until(() => client.state === "sealed");
  });

  test("a server drops an agent that says nothing, and not one that pings", async () => {
    const server = await fleet.server("s1");
    const pinging = await fleet.agent("web-1", [server.address]);
    const { connection, frames } = await rawPeer(server.address, await fleet.identity("agent", "web-2"));
    connection.send(FRAME.hello, hello("web-2"));
    await until(() => frames.length > 0 && server.stats().agents === 2);
    for (let period = 0; period < 25; period += 1) {
      fleet.siteWheel.turn();
      const pongs = pinging.stats().pongs;
      for (let pulse = 0; pulse < 5; pulse += 1) fleet.wheel.turn();
      await until(() => pinging.stats().pongs > pongs);
    }
    expect(server.stats()).toMatchObject({ agents: 1, closed: { silent: 1 } });
    expect(pinging.state).toBe("sealed");
  });

  test("an agent that does not read is closed at the cap", async () => {
    const server = await fleet.server("s1", { limits: { queueBytesMax: 500_000 } });
    const { connection, frames, socket } = await rawPeer(server.address, await fleet.identity("agent", "web-1"));
    connection.send(FRAME.hello, hello("web-1"));
    await until(() => frames.length > 0 && fleet.control.sessions.size === 1);
    socket.pause();
    const [held] = fleet.control.sessions.values();
    while (server.stats().agents > 0) {
      held?.raw.send("sealed", Buffer.alloc(100_000));
      await turn();
    }
    expect(server.stats().closed).toEqual({ slow: 1 });
  });

  test("agents are not read while control does not read", async () => {
    const [ofSite, ofControl] = duplexPair();
    const server = await fleet.server("s1", { uplink: () => ofSite });
    // A control plane that says WELCOME and then never reads again.
    const control = new Connection(ofControl, {
      frameBytesMax: FRAME_BYTES_MAX,
      queueBytesMax: FRAME_BYTES_MAX,
      onFrame: () => ofControl.pause(),
      onClose: () => undefined,
    });
    control.send(FRAME.welcome, jsonBody({}));
    const { connection } = await rawPeer(server.address, await fleet.identity("agent", "web-1"));
    connection.send(FRAME.hello, hello("web-1"));
    await until(() => server.stats().agents === 1 && server.stats().control);
    connection.send(FRAME.handshake, Buffer.alloc(10));
    let sent = 0;
    while (connection.send(FRAME.sealed, Buffer.alloc(50_000)) || !connection.isBehind) {
      sent += 1;
      await turn();
      if (connection.queuedBytes > 200_000) break;
    }
    // What is on its way at any time is bounded: the kernel's buffers and the uplink's mark, not the uplink's cap.
    expect(server.stats().frames.to_control).toBeLessThan(sent + 2);
    expect(server.stats().frames.to_control * 50_000).toBeLessThan(2_000_000);
    expect(server.stats()).toMatchObject({ agents: 1, control: true });
  });
});

describe("strangers", () => {
  test("may enrol, once, and nothing else", async () => {
    const server = await fleet.server("s1");
    await until(() => server.stats().control);
    const { connection, frames, closed } = await rawPeer(server.address, null);
    connection.send(FRAME.enrol, jsonBody({ token: "t" }));
    connection.send(FRAME.enrol, jsonBody({ token: "t" }));
    await until(() => closed.length === 1);
    expect(frames.length).toBeLessThanOrEqual(1);
    const polite = await rawPeer(server.address, null);
    polite.connection.send(FRAME.enrol, jsonBody({ token: "t" }));
    await until(() => polite.closed.length === 1);
    const [reply] = polite.frames;
    expect(reply?.type).toBe(FRAME.enrolled);
    expect(JSON.parse(String(reply?.body))).toEqual({ echo: { token: "t" }, via: { site: SITE, server: "s1" } });
    const rude = await rawPeer(server.address, null);
    rude.connection.send(FRAME.hello, hello("web-1"));
    await until(() => rude.closed.length === 1);
    expect(server.stats()).toMatchObject({ agents: 0, pending: 0 });
  });

  test("cannot enrol while control is out of reach, and are told so", async () => {
    fleet.isControlReachable = false;
    const server = await fleet.server("s1");
    const { connection, frames } = await rawPeer(server.address, null);
    connection.send(FRAME.enrol, jsonBody({}));
    await until(() => frames.length === 1);
    expect(JSON.parse(String(frames[0]?.body))).toMatchObject({ refused: "unavailable" });
  });

  test("a hello of a megabyte is refused, of those with a certificate too", async () => {
    const server = await fleet.server("s1");
    for (const identity of [null, await fleet.identity("agent", "web-1")]) {
      const { socket, closed } = await rawPeer(server.address, identity);
      const header = Buffer.alloc(5);
      header.writeUInt32BE(1_048_576);
      header.writeUInt8(identity === null ? FRAME.enrol : FRAME.hello, 4);
      socket.write(header);
      await until(() => closed.length === 1);
    }
    expect(server.stats()).toMatchObject({ agents: 0, pending: 0, closed: { closed: 2 } });
  });

  test("are held to a number, and to a time", async () => {
    const server = await fleet.server("s1", { limits: { pendingMax: 2 } });
    const silent = [await rawPeer(server.address, null), await rawPeer(server.address, null)];
    await expect(rawPeer(server.address, null)).rejects.toThrow();
    expect(server.stats()).toMatchObject({ pending: 2, refused: { too_many_pending: 1 } });
    for (let period = 0; period <= 16; period += 1) fleet.siteWheel.turn();
    await until(() => silent.every(({ closed }) => closed.length === 1));
    expect(server.stats()).toMatchObject({ pending: 0, refused: { timeout: 2 } });
    await rawPeer(server.address, null);
  });

  test.each([
    ["never begin a handshake", "", { timeout: 1 }],
    ["begin one with something else", "GET / HTTP/1.1\r\nhost: homeostat\r\n\r\n", { tls_failed: 1 }],
  ])("that %s are let go", async (_name, bytes, refused) => {
    const server = await fleet.server("s1");
    const socket = connect(Number(server.address.split(":")[1]), "127.0.0.1");
    socket.on("error", () => undefined);
    socket.resume();
    const closed = once(socket, "close");
    await once(socket, "connect");
    await until(() => server.stats().pending === 1);
    socket.write(bytes);
    if (bytes === "") for (let period = 0; period <= 16; period += 1) fleet.siteWheel.turn();
    await closed;
    await until(() => server.stats().pending === 0);
    expect(server.stats().refused).toMatchObject(refused);
  });

  test.each([
    ["an agent that says that it is another", "web-1", SITE, "web-2"],
    ["an agent of another site", "web-1", "dc2", "web-1"],
  ])("%s is refused", async (_name, host, site, said) => {
    const server = await fleet.server("s1");
    const identity = await fleet.identity("agent", host, site);
    const dialled = await dialTls({
      server: server.address,
      identity,
      expected: { kind: "site", site: null },
      now: Date.now,
    });
    const closed = once(dialled.socket, "close");
    dialled.socket.on("error", () => undefined);
    dialled.socket.resume();
    new Connection(dialled.socket, { frameBytesMax: 1, queueBytesMax: 1_000, onFrame: turn, onClose: turn }).send(
      FRAME.hello,
      hello(said),
    );
    await closed;
    expect(server.stats().agents).toBe(0);
  });

  test("an agent that sends as much as a frame may hold, which with its session is too much for the next, is cut off alone", async () => {
    const server = await fleet.server("s1");
    const other = await fleet.agent("web-2", [server.address]);
    const peer = await rawPeer(server.address, await fleet.identity("agent", "web-1"));
    peer.connection.send(FRAME.hello, hello("web-1"));
    await until(() => server.stats().agents === 2);
    peer.connection.send(FRAME.handshake, Buffer.alloc(FRAME_BYTES_MAX - 1));
    await until(() => peer.closed.length === 1);
    expect(server.stats()).toMatchObject({ agents: 1, control: true, closed: { protocol: 1 } });
    expect(other.state).toBe("sealed");
  });

  test("a site server does not serve as an agent, and an agent believes no server of another site", async () => {
    const server = await fleet.server("s1");
    const asAgent = await rawPeer(server.address, await fleet.identity("site", "web-1"));
    await until(() => asAgent.closed.length === 1);
    const client = await fleet.client("web-1", [server.address], { site: "dc2" });
    client.start();
    await until(() => client.stats().ended.dial_failed === 1);
    expect(client.problem).toContain("is not to be believed");
  });
});

describe("batches", () => {
  test("reach the bus as they came, in more than one frame where one is too small", async () => {
    const server = await fleet.server("s1");
    const client = await fleet.agent("web-1", [server.address]);
    const builder = new BatchBuilder("metric_samples");
    for (let row = 0; row < 10_000; row += 1)
      builder.append({
        metric_id: randomBytes(8).readBigUInt64BE(),
        fingerprint: randomBytes(8).readBigUInt64BE(),
        timestamp: 1_700_000_000_000,
        value: Math.random(),
      });
    const large = { topic: "telemetry.metrics", value: builder.finish({ producer: "web-1/1", sequence: 1 }) };
    const rounds = Math.ceil(FRAME_BYTES_MAX / large.value.length);
    await client.publish([...new Array<typeof large>(rounds).fill(large), ...samples("web-1", 2)]);
    const values = fleet.taken.flatMap(({ batches }) => batches.map(({ value }) => value));
    expect(fleet.taken.length).toBe(2);
    expect(values).toHaveLength(rounds + 1);
    expect(values.slice(0, -1).every((value) => Buffer.compare(value, large.value) === 0)).toBe(true);
    expect(values.at(-1)).toEqual(Buffer.from(batchOf("web-1", 2)));
  });

  test.each([
    ["in the name of another host", () => samples("web-2"), /producer web-2\/1 is not of this host/],
    ["of the wrong topic", () => [{ topic: "telemetry.logs", value: batchOf("web-1", 1) }], /does not belong into/],
    ["that are broken", () => [{ topic: "telemetry.logs", value: Buffer.from("no batch") }], /./],
    ["that are too large", () => [{ topic: "telemetry.logs", value: Buffer.alloc(600_000) }], /more than 524288 bytes/],
  ])("%s are refused for good", async (_name, batches, message) => {
    const server = await fleet.server("s1");
    const client = await fleet.agent("web-1", [server.address]);
    const refused = client.publish(batches());
    await expect(refused).rejects.toMatchObject({ code: "refused" });
    await expect(refused).rejects.toThrow(message);
    expect(fleet.taken).toEqual([]);
  });

  test("stay with the agent while the bus does not take them, and a second round waits for the first", async () => {
    let fail: (error: Error) => void = () => undefined;
    const server = await fleet.server("s1", {
      publish: () =>
        new Promise((_resolve, reject) => {
          fail = reject;
        }),
    });
    const client = await fleet.agent("web-1", [server.address]);
    const first = client.publish(samples("web-1"));
    await until(() => server.stats().in_flight_bytes > 0);
    await expect(client.publish(samples("web-1"))).rejects.toMatchObject({ code: "unreachable" });
    fail(new BusError("unreachable", "the bus is away", { retryable: true }));
    await expect(first).rejects.toMatchObject({ code: "unreachable" });
    const second = client.publish(samples("web-1"));
    await until(() => server.stats().in_flight_bytes > 0);
    fail(new BusError("too_large", "too large", { retryable: false }));
    await expect(second).rejects.toMatchObject({ code: "refused" });
    expect(server.stats().in_flight_bytes).toBe(0);
  });

  test("on their way when the server dies are the agent's to send again", async () => {
    const server = await fleet.server("s1", { publish: () => new Promise(() => undefined) });
    const client = await fleet.agent("web-1", [server.address]);
    const lost = client.publish(samples("web-1"));
    await until(() => server.stats().in_flight_bytes > 0);
    await Promise.all([expect(lost).rejects.toMatchObject({ code: "unreachable" }), server.stop()]);
  });
});

describe("artefacts", () => {
  const sha256 = "a".repeat(64);

  test("come in ranges, and from control once for all agents", async () => {
    const server = await fleet.server("s1");
    const artefact = Buffer.from(Array.from({ length: CHUNK_BYTES_MAX + 1_000 }, (_, index) => index % 251));
    fleet.control.artefacts.set(sha256, artefact);
    const agents = [await fleet.agent("web-1", [server.address]), await fleet.agent("web-2", [server.address])];
    for (const agent of agents) {
      expect(await agent.fetch(sha256, 0, 10)).toEqual(artefact.subarray(0, 10));
      expect(await agent.fetch(sha256, CHUNK_BYTES_MAX - 5, 10)).toEqual(
        artefact.subarray(CHUNK_BYTES_MAX - 5, CHUNK_BYTES_MAX + 5),
      );
      expect(await agent.fetch(sha256, CHUNK_BYTES_MAX + 990, CHUNK_BYTES_MAX)).toHaveLength(10);
    }
    expect(fleet.control.fetches).toBe(2);
  });

  test("beyond what agents have yet to read are to be asked for again", async () => {
    const server = await fleet.server("s1", { limits: { artefactBytesMax: 15_000 } });
    fleet.control.artefacts.set(sha256, Buffer.alloc(100_000, 1));
    const client = await fleet.agent("web-1", [server.address]);
    expect(await client.fetch(sha256, 0, 10_000)).toHaveLength(10_000);
    await expect(client.fetch(sha256, 10_000, 10_000)).rejects.toMatchObject({ code: "unreachable" });
    fleet.siteWheel.turn();
    expect(await client.fetch(sha256, 10, 10_000)).toHaveLength(10_000);
  });

  test("that control does not have are refused, and so are ranges that are too long", async () => {
    const server = await fleet.server("s1");
    const client = await fleet.agent("web-1", [server.address]);
    await expect(client.fetch(sha256, 0, 10)).rejects.toMatchObject({ code: "refused" });
    await expect(client.fetch(sha256, 0, CHUNK_BYTES_MAX + 1)).rejects.toMatchObject({ code: "refused" });
  });
});
