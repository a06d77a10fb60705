import { generateKeyPairSync } from "node:crypto";
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Agent,
  AgentConfig,
  createAgent,
  createBusLink,
  createRelayLink,
  type Link,
  relayRoutes,
} from "@homeostat/agent";
import {
  type Bus,
  BusError,
  CommandResult,
  decodeBatch,
  decodeHeader,
  Heartbeat,
  type Log,
  type SignedCommand,
  signCommand,
  topics,
} from "@homeostat/schemas";
import fastify, { type FastifyInstance } from "fastify";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createEmbeddedBus } from "../../app/src/embedded/bus/index.ts";

const ignore = () => undefined;
const log: Log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
const keys = generateKeyPairSync("ed25519");
const TOKEN = "a token of the agent";

interface Seen {
  readonly topic: string;
  readonly key: string | null;
  readonly value: Uint8Array;
}

let root: string;
let bus: Bus;
let relay: FastifyInstance;
let agents: Agent[];
let seen: Seen[];
let onSeen: () => void;

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "agent-"));
  bus = await createEmbeddedBus({ dir: join(root, "bus"), topics: topics(), now: Date.now, log });
  relay = fastify();
  await relay.register(relayRoutes({ bus, tokens: [{ host: "web-1", token: TOKEN }], name: "r1", now: Date.now }));
  agents = [];
  seen = [];
  onSeen = ignore;
  await bus.consume({
    group: "test",
    topics: ["telemetry.logs", "telemetry.metrics", "agent.results", "agent.heartbeats"],
    open: async (partition) => ({
      startOffset: partition.earliestOffset,
      receive: async (messages) => {
        for (const { topic, key, value } of messages) if (value !== null) seen.push({ topic, key, value });
        onSeen();
      },
    }),
  });
});
afterEach(async () => {
  for (const agent of agents) await agent.stop();
  await relay.close();
  await bus.stop();
  rmSync(root, { recursive: true, force: true });
});

const until = (isSo: () => boolean) =>
  new Promise<void>((resolve) => {
    onSeen = () => {
      if (isSo()) resolve();
    };
    onSeen();
  });
const begin = async (config: Record<string, unknown>, link: Link) => {
  const agent = createAgent({
    config: AgentConfig.parse({ host: "web-1", interval_ms: 100, flush_ms: 100, heartbeat_ms: 1000, ...config }),
    dir: join(root, "agent"),
    link,
    trustedKeys: [keys.publicKey],
    now: Date.now,
    monotonicMs: () => performance.now(),
    log,
  });
  agents.push(agent);
  await agent.start();
  return agent;
};
const rowsOf = (schema: string) =>
  seen
    .filter(({ topic }) => topic.startsWith("telemetry."))
    .map(({ value }) => decodeBatch(value))
    .filter((batch) => batch.schema === schema);
const logLines = () =>
  rowsOf("logs").flatMap((batch) =>
    batch.schema === "logs"
      ? Array.from({ length: batch.rowCount }, (_, row) => String(batch.column("body").at(row)))
      : [],
  );
const metricNames = () =>
  rowsOf("metric_series").flatMap((batch) =>
    batch.schema === "metric_series"
      ? Array.from({ length: batch.rowCount }, (_, row) => String(batch.column("metric_name").at(row)))
      : [],
  );
const results = () =>
  seen
    .filter(({ topic }) => topic === "agent.results")
    .map(({ value }) => CommandResult.parse(JSON.parse(Buffer.from(value).toString())));
const command = (id: string, executor: string, args: SignedCommand["command"]["args"]) => {
  const at = Date.now();
  return signCommand(
    {
      command_id: id,
      host: "web-1",
      executor,
      args,
      timeout_ms: 10_000,
      output_bytes_max: 10_000,
      requested_by: "test",
      issued_at_unix_ms: at,
      not_after_unix_ms: at + 60_000,
    },
    keys.privateKey,
  );
};
const send = (signed: SignedCommand) =>
  bus.publish([{ topic: "agent.commands", key: "web-1", value: Buffer.from(JSON.stringify(signed)) }]);

const viaRelay = (token = TOKEN): Link =>
  createRelayLink({
    url: "http://relay",
    token,
    host: "web-1",
    fetch: async (url, { method, headers, body, signal }) => {
      const answer = await relay.inject({
        method: method as "GET" | "POST",
        url: url.replace("http://relay", ""),
        headers: headers as Record<string, string>,
        ...(body === undefined ? {} : { payload: Buffer.from(body as Uint8Array) }),
        ...(signal ? { signal } : {}),
      });
      return new Response(answer.statusCode === 204 ? null : answer.rawPayload.toString(), {
        status: answer.statusCode,
      });
    },
  });
const LINKS = [
  { name: "the bus itself", make: () => createBusLink({ bus, host: "web-1" }) },
  { name: "a relay", make: () => viaRelay() },
];

describe.each(LINKS)("an agent on $name", ({ make }) => {
  test("sends metrics, logs and heartbeats of its host, in order, and its ledger closes", async () => {
    const path = join(root, "app.log");
    writeFileSync(path, "first\n");
    const agent = await begin({ logs: [{ path, service: "shop" }] }, make());
    await until(() => logLines().length === 1);
    appendFileSync(path, "second\n");
    await until(() => logLines().length === 2 && rowsOf("metric_samples").length > 5);
    await agent.stop();

    expect(logLines()).toEqual(["first", "second"]);
    for (const name of [
      "system.cpu.utilization",
      "system.memory.usage",
      "system.filesystem.utilization",
      "system.network.io",
      "homeostat.agent.memory.usage",
    ])
      expect(metricNames()).toContain(name);
    for (const topic of ["telemetry.logs", "telemetry.metrics"]) {
      const headers = seen.filter((one) => one.topic === topic).map(({ value }) => decodeHeader(value));
      expect(headers.every(({ producer }) => producer.startsWith("web-1/"))).toBe(true);
      expect(
        headers.every(({ sequence }, index) => index === 0 || sequence > (headers[index - 1]?.sequence ?? 0)),
      ).toBe(true);
    }
    expect(new Set(seen.map(({ key }) => key))).toEqual(new Set(["web-1"]));
    const beats = seen
      .filter(({ topic }) => topic === "agent.heartbeats")
      .map(({ value }) => Heartbeat.parse(JSON.parse(Buffer.from(value).toString())));
    expect(beats[0]).toMatchObject({ host: "web-1", state: "online", problems: [] });
    const { produced, delivered, spooled, dropped } = agent.status().ledger;
    expect({ spooled, dropped, delivered }).toEqual({ spooled: 0, dropped: {}, delivered: produced });
  });

  test("heals a service and a disk by signed commands, and refuses what is not declared", async () => {
    const cache = join(root, "cache");
    mkdirSync(cache);
    for (let file = 0; file < 5; file++) {
      writeFileSync(join(cache, `${file}.tmp`), Buffer.alloc(100_000, 1));
      utimesSync(join(cache, `${file}.tmp`), 1000 + file, 1000 + file);
    }
    await begin(
      {
        services: [
          {
            name: "shop",
            manager: "process",
            command: process.execPath,
            args: ["-e", "setInterval(() => {}, 1000)"],
            stop_with_agent: true,
          },
        ],
        paths: [{ name: "cache", path: cache, limit_bytes: 1_000_000, free: ["*.tmp"], keep_newest_files: 1 }],
        commands: [
          { name: "hello", command: "/bin/echo", args: ["hello", "{who}"], params: { who: { type: "string" } } },
        ],
      },
      make(),
    );
    const pid = () => JSON.parse(readFileSync(join(root, "agent/services/shop.pid"), "utf8")).pid;
    const before = pid();
    await send(command("c1", "service.restart", { service: "shop" }));
    await send(command("c2", "files.free", { path: "cache", target_bytes: 150_000 }));
    await send(command("c3", "exec.run", { name: "hello", args: { who: "you" } }));
    await send(command("c4", "exec.run", { name: "rm", args: {} }));
    await send({
      ...command("c5", "service.restart", { service: "shop" }),
      signature: command("c6", "x", {}).signature,
    });
    await until(() => results().length === 5);
    const states = Object.fromEntries(results().map(({ command_id, state }) => [command_id, state]));
    expect(states).toEqual({ c1: "succeeded", c2: "succeeded", c3: "succeeded", c4: "refused", c5: "refused" });
    expect(results().find(({ command_id }) => command_id === "c3")?.stdout).toBe("hello you\n");
    expect(JSON.parse(results().find(({ command_id }) => command_id === "c2")?.stdout ?? "")).toMatchObject({
      files: 2,
    });
    expect(pid()).not.toBe(before);
    await until(
      () => metricNames().includes("homeostat.service.up") && metricNames().includes("homeostat.path.utilization"),
    );
  });

  test("does a command once however often it is delivered, also to the next agent", async () => {
    const effects = join(root, "effects");
    const config = { commands: [{ name: "note", command: "/bin/sh", args: ["-c", 'echo done >> "$0"', effects] }] };
    const first = await begin(config, make());
    const signed = command("c1", "exec.run", { name: "note", args: {} });
    await send(signed);
    await send(signed);
    await until(() => results().length >= 1);
    await first.stop();
    const before = results().length;
    await begin(config, make());
    await send(signed);
    await until(() => results().length > before);
    expect(readFileSync(effects, "utf8")).toBe("done\n");
    expect(new Set(results().map(({ state }) => state))).toEqual(new Set(["succeeded"]));
  });
});

test("keeps everything in its spool while the platform is away, and sends it once when it is back", async () => {
  const real = createBusLink({ bus, host: "web-1" });
  let isAway = true;
  let refusals = 0;
  const link: Link = {
    ...real,
    publish: async (batches) => {
      if (!isAway) return real.publish(batches);
      refusals++;
      throw new BusError("unreachable", "the bus is away", { retryable: true });
    },
  };
  const path = join(root, "app.log");
  writeFileSync(path, Array.from({ length: 1000 }, (_, line) => `line ${line}\n`).join(""));
  const agent = await begin({ logs: [{ path, service: "shop" }] }, link);
  await until(() => seen.filter(({ topic }) => topic === "agent.heartbeats").length >= 2);
  expect(refusals).toBeGreaterThan(0);
  const status = agent.status();
  expect(status).toMatchObject({ state: "degraded", problems: [expect.stringContaining("the bus is away")] });
  expect(status.ledger).toMatchObject({ delivered: 0, spooled: status.ledger.produced });
  isAway = false;
  await until(() => logLines().length >= 1000);
  await agent.stop();
  expect(logLines()).toEqual(Array.from({ length: 1000 }, (_, line) => `line ${line}`));
  expect(agent.status().ledger).toMatchObject({ spooled: 0, dropped: {} });
});

describe("relay", () => {
  const post = (url: string, options: { token?: string; host?: string; body?: unknown; type?: string } = {}) =>
    relay.inject({
      method: "POST",
      url,
      headers: {
        authorization: `Bearer ${options.token ?? TOKEN}`,
        "x-homeostat-host": options.host ?? "web-1",
        "content-type": options.type ?? "application/octet-stream",
      },
      payload: (options.body ?? "") as string,
    });

  test.each([
    ["a wrong token", { token: "another" }, 401],
    ["no token", { token: "" }, 401],
    ["an unknown host", { host: "web-2" }, 401],
    ["a body that is no frames", { body: Buffer.from("garbage") }, 400],
    ["a frame that is no batch", { body: Buffer.from([0, 3, 0, 0, 0, 1, 2, 3]) }, 400],
    ["a body that is too large", { body: Buffer.alloc(3_000_000) }, 413],
    ["another content type", { body: "{}", type: "application/json" }, 400],
  ])("refuses batches with %s", async (_, options, status) => {
    expect((await post("/relay/v1/batches", options)).statusCode).toBe(status);
    expect(seen).toEqual([]);
  });

  test("takes no record and no batch in the name of another host", async () => {
    const beat = {
      host: "web-2",
      agent_version: "0",
      state: "online",
      problems: [],
      at_unix_ms: 1,
      started_at_unix_ms: 1,
      spool_bytes: 0,
      ledger: { produced: 0, delivered: 0, spooled: 0, dropped: {} },
    };
    const answer = await post("/relay/v1/heartbeats", { body: JSON.stringify(beat), type: "application/json" });
    expect(answer.statusCode).toBe(403);
    const { BatchBuilder } = await import("@homeostat/schemas");
    const builder = new BatchBuilder("metric_samples");
    builder.append({ metric_id: 1n, fingerprint: 1n, timestamp: 1, value: 1 });
    const value = Buffer.from(builder.finish({ producer: "web-2/abc", sequence: 1 }));
    const head = Buffer.alloc(5);
    head.writeUInt8(1, 0);
    head.writeUInt32LE(value.length, 1);
    const refused = await post("/relay/v1/batches", { body: Buffer.concat([head, value]) });
    expect([refused.statusCode, refused.json()]).toEqual([
      400,
      { error: "the producer web-2/abc is not of this host" },
    ]);
  });

  test("holds a poll until there is a command, and gives none twice to the same cursor", async () => {
    const poll = (cursor: number) =>
      relay.inject({
        url: `/relay/v1/commands?cursor=${cursor}`,
        headers: { authorization: `Bearer ${TOKEN}`, "x-homeostat-host": "web-1" },
      });
    const waiting = poll(0);
    await send(command("c1", "exec.run", {}));
    const first = (await waiting).json();
    expect(first.commands).toHaveLength(1);
    const next = poll(first.cursor);
    await send(command("c2", "exec.run", {}));
    expect((await next).json().commands.map((one: SignedCommand) => one.command.command_id)).toEqual(["c2"]);
    expect((await poll(0)).json().commands).toHaveLength(2);
  });
});
