import { randomBytes } from "node:crypto";
import { duplexPair } from "node:stream";
import type { CommandResult } from "@homeostat/schemas";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Connection } from "../channel/connection.ts";
import { FRAME, FRAME_BYTES_MAX, jsonBody } from "../channel/frame.ts";
import { createAuthority } from "../control/identity/authority.ts";
import { Fleet, SITE, until } from "../site/channel-fleet.fixture.ts";
import { type Lie, lyingUplink } from "../site/lying-uplink.fixture.ts";
import type { ChannelClient } from "./channel-client.ts";
import { createChannelLink } from "./channel-link.ts";
import { quietLog } from "./quiet-log.fixture.ts";

let fleet: Fleet;
beforeEach(async () => {
  fleet = await Fleet.make();
});
afterEach(() => fleet.end());

const resultOf = (host: string, commandId: string): CommandResult => ({
  command_id: commandId,
  host,
  executor: "exec.run",
  state: "succeeded",
  exit_code: 0,
  stdout: "done",
  stderr: "",
  output_truncated: false,
  started_at_unix_ms: 1,
  ended_at_unix_ms: 2,
  message: "",
});

describe("agents whose server is lost", () => {
  test("all come back at another one, and none at once", async () => {
    const dying = await fleet.server("s1");
    const other = await fleet.server("s2");
    const clients = await Promise.all(
      // Always the first server first.
      Array.from({ length: 20 }, (_, index) =>
        fleet.agent(`web-${index}`, [dying.address], { servers: [dying.address, other.address], random: () => 0.999 }),
      ),
    );
    expect(dying.stats().agents + other.stats().agents).toBe(20);
    await dying.stop();
    await until(() => clients.every(({ state }) => state === "sealed") && other.stats().agents === 20);
    await until(() => fleet.control.sessions.size === 20);
  });

  test("learn of the others from the server itself", async () => {
    const other = await fleet.server("s2");
    const dying = await fleet.server("s1", { advertise: [other.address] });
    const client = await fleet.agent("web-1", [dying.address]);
    await dying.stop();
    await until(() => client.state === "sealed");
    expect(client.stats().server).toBe(other.address);
    expect(client.stats().ended.closed).toBe(1);
  });

  test("are sent away one by one by a server that stops in peace, and lose no time", async () => {
    const other = await fleet.server("s2");
    const leaving = await fleet.server("s1", { advertise: [other.address] });
    const clients: ChannelClient[] = [];
    for (let index = 0; index < 4; index += 1) clients.push(await fleet.agent(`web-${index}`, [leaving.address]));
    const sealedSince = clients.map((client) => client.stats().handshakes);
    await leaving.stop({ drainMs: 60 });
    await until(() => other.stats().agents === 4 && clients.every(({ state }) => state === "sealed"));
    for (const [index, client] of clients.entries())
      expect(client.stats()).toMatchObject({ ended: { goaway: 1 }, handshakes: (sealedSince[index] ?? 0) + 1 });
  });

  test("wait longer each time that all servers have failed once more, and not for each of them", async () => {
    const dialledMs: number[] = [];
    const startedMs = Date.now();
    const client = await fleet.client("web-1", ["a:1", "b:1"], {
      backOff: { minMs: 1_000, maxMs: 5_000 },
      random: () => 0.999,
      dial: async () => {
        dialledMs.push(Date.now() - startedMs);
        throw new Error("nobody is there");
      },
    });
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"], now: startedMs });
    try {
      client.start();
      await vi.advanceTimersByTimeAsync(21_000);
      await client.stop();
    } finally {
      vi.useRealTimers();
    }
    expect(dialledMs.map((ms) => Math.round(ms / 1_000))).toEqual([0, 1, 2, 4, 6, 10, 14, 19]);
  });

  test("wait longer each time while there is no server at all, and say why", async () => {
    const server = await fleet.server("s1");
    await server.stop();
    const client = await fleet.client("web-1", [server.address]);
    client.start();
    await until(() => client.stats().ended.dial_failed === 1);
    expect(client.problem).toContain("ECONNREFUSED");
    await expect(client.publish([])).resolves.toBeUndefined();
    await expect(client.publish([{ topic: "telemetry.logs", value: Buffer.alloc(1) }])).rejects.toMatchObject({
      code: "unreachable",
    });
  });
});

test("a revoked certificate opens nothing by a ticket either", async () => {
  const server = await fleet.server("s1", { ticketKeys: randomBytes(48) });
  const client = await fleet.agent("web-1", [server.address]);
  fleet.control.revoked.hosts.push("web-1");
  fleet.control.uplinks.tellRevoked();
  await until(() => server.stats().closed.revoked === 1);
  await until(() => server.stats().refused.revoked === 1);
  expect([client.stats().connects, server.stats().agents]).toEqual([1, 0]);
});

test("a server that sends an agent away again and again has one line in its log", async () => {
  const told: string[] = [];
  const [ofAgent, ofServer] = duplexPair();
  const client = await fleet.client("web-1", ["a:1"], {
    dial: async () => ofAgent,
    log: { ...quietLog, info: (_, text) => told.push(text ?? "") },
  });
  const heard = Promise.withResolvers<void>();
  const server: Connection = new Connection(ofServer, {
    frameBytesMax: FRAME_BYTES_MAX,
    queueBytesMax: FRAME_BYTES_MAX,
    onFrame: () => heard.resolve(),
    onClose: () => undefined,
  });
  client.start();
  await heard.promise;
  for (let n = 0; n < 1_000; n += 1) server.send(FRAME.goaway, jsonBody({ reason: `${n}`, retry_after_ms: 3_600_000 }));
  server.send(FRAME.pong);
  await until(() => client.stats().pongs === 1);
  expect(told).toEqual(["the server sends this agent away"]);
});

describe("an agent whose certificate was renewed while it was connected", () => {
  test("shows the new one when it comes back, and not the old one by a ticket of its session", async () => {
    const HOUR_MS = 3_600_000;
    let siteMs = Date.now();
    const server = await fleet.server("s1", { ticketKeys: randomBytes(48), now: () => siteMs });
    const before = await createAuthority({ dir: fleet.dir, now: () => Date.now() - 23 * HOUR_MS });
    let identity = await before.identityFor({ kind: "agent", site: SITE, name: "web-1" });
    const client = await fleet.agent("web-1", [server.address], { identity: () => identity });
    // An answer to it comes behind the ticket.
    fleet.wheel.turn();
    await until(() => client.clockSkewMs !== null);
    identity = await fleet.identity("agent", "web-1");
    siteMs += 2 * HOUR_MS;
    fleet.control.of("web-1")?.raw.close("come again");
    await until(() => client.stats().connects === 2 && client.state === "sealed");
    expect(server.stats().refused).toEqual({});
  });
});

describe("a site server that lies", () => {
  /** Lies about the nth sealed frame only. */
  const once = (nth: number, lie: Lie): Lie => {
    let count = 0;
    return (body) => (++count === nth ? lie(body) : [body]);
  };
  const honest: Lie = (body) => [body];
  const altered: Lie = (body) => {
    body[body.length - 20] = (body[body.length - 20] ?? 0) ^ 1;
    return [body];
  };
  const dropped: Lie = () => [];
  const repeated: Lie = (body) => [body, body];
  /** Holds one back, and sends it after the next. */
  const reordered = (nth: number): Lie => {
    let count = 0;
    let held: Buffer | null = null;
    return (body) => {
      if (++count === nth) {
        held = body;
        return [];
      }
      const out = held === null ? [body] : [body, held];
      held = null;
      return out;
    };
  };
  const LIES: readonly [string, Lie, Lie][] = [
    ["alters what an agent says", once(3, altered), honest],
    ["drops what an agent says", once(3, dropped), honest],
    ["repeats what an agent says", once(3, repeated), honest],
    ["reorders what an agent says", reordered(3), honest],
    ["alters what control says", honest, once(3, altered)],
    ["drops what control says", honest, once(3, dropped)],
    ["repeats what control says", honest, once(3, repeated)],
    ["reorders what control says", honest, reordered(3)],
  ];

  test.each(LIES)(
    "and %s is found out: the session is made again, and only what was said is heard, once and in order in each session",
    async (_name, up, down) => {
      const server = await fleet.server("s1", { uplink: () => lyingUplink(fleet.uplink(), { up, down }) });
      const client = await fleet.agent("web-1", [server.address]);
      const heard: string[] = [];
      client.onMessage((message) => {
        if (message.type === "ack") heard.push(...message.command_ids);
      });
      const link = createChannelLink({ client, log: quietLog });
      let said = 0;
      // Control says a number at each turn while it has a session; results go the other way until each is acknowledged.
      const acknowledged = new Set<string>();
      const results = Array.from({ length: 6 }, (_, index) =>
        link.publishResult(resultOf("web-1", `r.${index}`)).then(() => acknowledged.add(`r.${index}`)),
      );
      let answered = 0;
      await until(() => {
        if (fleet.control.say("web-1", { type: "ack", command_ids: [`n.${said}`] })) said += 1;
        for (; answered < fleet.control.heard.length; answered += 1) {
          const message = fleet.control.heard[answered]?.message;
          if (message?.type === "result")
            fleet.control.say("web-1", { type: "ack", command_ids: [message.result.command_id] });
        }
        const isAgain = client.stats().handshakes >= 2;
        if (isAgain) fleet.wheel.turn();
        return isAgain && acknowledged.size === 6;
      });
      await Promise.all(results);
      const numbers = heard.filter((id) => id.startsWith("n.")).map((id) => Number(id.slice(2)));
      expect(numbers).toEqual([...new Set(numbers)].sort((one, other) => one - other));
      const told = fleet.control.heard.flatMap(({ message }) => (message.type === "result" ? [message.result] : []));
      for (const result of told) expect(result).toEqual(resultOf("web-1", result.command_id));
      const ended = client.stats().ended;
      expect(ended.seal_broken + ended.goaway).toBe(1);
    },
  );

  test("by a welcome of its own making is not believed", async () => {
    const other = await Fleet.make();
    const server = await fleet.server("s1", { uplink: () => other.uplink() });
    const client = await fleet.client("web-1", [server.address], {
      trustedKeys: () => [fleet.control.keys.publicKey],
    });
    client.start();
    await until(
      () => client.stats().ended.closed + client.stats().ended.goaway + client.stats().ended.handshake_failed > 0,
    );
    expect(client.stats().handshakes).toBe(0);
    await other.end();
  });
});

describe("the link over the channel", () => {
  test("brings orders to the agent and results to control, again until they are acknowledged", async () => {
    const server = await fleet.server("s1");
    const client = await fleet.agent("web-1", [server.address]);
    const link = createChannelLink({ client, log: quietLog });
    const calls: unknown[] = [];
    const subscription = await link.onOrder({
      command: async (value) => void calls.push(["command", value]),
      cancel: async () => {
        throw new Error("the disk is full");
      },
      input: (id, data) => calls.push(["input", id, data.toString()]),
      resize: (id, columns, rows) => calls.push(["resize", id, columns, rows]),
      desired: (desired) => calls.push(["desired", desired]),
    });
    fleet.control.say("web-1", { type: "input", command_id: "a.1", data: Buffer.from("ls\n").toString("base64") });
    fleet.control.say("web-1", { type: "resize", command_id: "a.1", columns: 80, rows: 24 });
    await until(() => calls.length === 2);
    expect(calls).toEqual([
      ["input", "a.1", "ls\n"],
      ["resize", "a.1", 80, 24],
    ]);
    let isDurable = false;
    const durable = link.publishResult(resultOf("web-1", "a.1")).then(() => {
      isDurable = true;
    });
    const told = () => fleet.control.heard.filter(({ message }) => message.type === "result").length;
    await until(() => told() === 1);
    // Control dies with it: it is told again to the one that comes after.
    await fleet.control.restart();
    await until(() => told() === 2);
    expect(isDurable).toBe(false);
    // Not acknowledged: told again after a while.
    for (let period = 0; period < 16; period += 1) fleet.wheel.turn();
    await until(() => told() === 3);
    fleet.control.say("web-1", { type: "ack", command_ids: ["a.1", "unknown"] });
    await durable;
    await subscription.stop();
    fleet.control.say("web-1", { type: "resize", command_id: "a.1", columns: 1, rows: 1 });
    fleet.control.say("web-1", { type: "ack", command_ids: [] });
    expect(calls).toHaveLength(2);
  });

  test("hears several messages under one seal, each by itself, and no more than a few dozen", async () => {
    const server = await fleet.server("s1");
    const client = await fleet.agent("web-1", [server.address]);
    const heard: unknown[] = [];
    client.onMessage((message) => {
      if (message.type !== "clock") heard.push(message);
    });
    const ack = { type: "ack", command_ids: ["a.1"] };
    const command = { type: "command", command: { any: 1 } };
    fleet.control.say("web-1", [ack, { type: "nothing" }, command]);
    await until(() => heard.length === 2);
    expect(heard).toEqual([ack, command]);
    for (const list of [[], Array(65).fill(ack), [[ack]]]) fleet.control.say("web-1", list);
    await until(() => client.stats().malformed === 4);
    expect(heard).toHaveLength(2);
  });

  test("says at once that a heartbeat cannot be sent, and drops progress", async () => {
    const server = await fleet.server("s1");
    const client = await fleet.client("web-1", [server.address]);
    const link = createChannelLink({ client, log: quietLog });
    const progress = { command_id: "a.1", host: "web-1", at_unix_ms: 1, state: "running", output: null } as const;
    link.publishProgress(progress);
    await expect(
      link.publishHeartbeat({
        host: "web-1",
        agent_version: "",
        state: "online",
        problems: [],
        at_unix_ms: 1,
        started_at_unix_ms: 1,
        ledger: { produced: 0, delivered: 0, spooled: 0, dropped: {} },
        topics: {},
        checkpoints: [],
        spool_bytes: 0,
        site: "",
        labels: {},
        plugins: [],
        clock_skew_ms: null,
      }),
    ).rejects.toMatchObject({ code: "unreachable", message: "not yet connected" });
  });
});
