import { generateKeyPairSync } from "node:crypto";
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Agent, AgentConfig, createAgent, createBusLink, type Link } from "@homeostat/agent";
import {
  type Bus,
  BusError,
  type Cancel,
  type CommandArgs,
  CommandResult,
  type Dispatch,
  decodeBatch,
  decodeHeader,
  dispatchOf,
  type GrantTerms,
  Heartbeat,
  type Log,
  Progress,
  signCancel,
  topics,
} from "@homeostat/schemas";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createEmbeddedBus } from "../../app/src/embedded/bus/index.ts";

const ignore = () => undefined;
const log: Log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
const keys = generateKeyPairSync("ed25519");

interface Seen {
  readonly topic: string;
  readonly key: string | null;
  readonly value: Uint8Array;
}

let root: string;
let bus: Bus;
let agents: Agent[];
let seen: Seen[];
let onSeen: () => void;

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "agent-"));
  bus = await createEmbeddedBus({ dir: join(root, "bus"), topics: topics(), now: Date.now, log });
  agents = [];
  seen = [];
  onSeen = ignore;
  await bus.consume({
    group: "test",
    topics: ["telemetry.logs", "telemetry.metrics", "agent.results", "agent.progress", "agent.heartbeats"],
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
const progress = () =>
  seen
    .filter(({ topic }) => topic === "agent.progress")
    .map(({ value }) => Progress.parse(JSON.parse(Buffer.from(value).toString())));
const command = (
  id: string,
  executor: string,
  args: CommandArgs,
  { hosts = ["web-1"], ...terms }: Partial<GrantTerms> & { hosts?: readonly string[] } = {},
): Dispatch => {
  const at = Date.now();
  const defaults: GrantTerms = {
    command_id: id,
    job_id: "j1",
    requested_by: "test",
    executor,
    risk: "destructive",
    targets: { sites: {} },
    approvals: [{ by: "another", at_unix_ms: at }],
    issued_at_unix_ms: at,
    not_after_unix_ms: at + 60_000,
    timeout_ms: 10_000,
    output_bytes_max: 10_000,
    limits: {},
  };
  return dispatchOf({ ...defaults, ...terms }, { args, hosts, privateKey: keys.privateKey });
};
const sendValue = (key: string, value: unknown) =>
  bus.publish([{ topic: "agent.commands", key, value: Buffer.from(JSON.stringify(value)) }]);
const send = (dispatch: Dispatch) => sendValue(dispatch.signed.grant.command_id, dispatch);
const cancel = (id: string, hosts: string[] = []) => {
  const at = Date.now();
  const order: Cancel = {
    command_id: id,
    hosts,
    cancelled_by: "ann",
    at_unix_ms: at,
    not_after_unix_ms: at + 60_000,
  };
  return sendValue(id, signCancel(order, keys.privateKey));
};
const stateOf = (id: string) => results().find(({ command_id }) => command_id === id)?.state;
const busLink = () => createBusLink({ bus, host: "web-1" });

describe("an agent on the bus", () => {
  test("sends metrics, logs and heartbeats of its host, in order, and its ledger closes", async () => {
    const path = join(root, "app.log");
    writeFileSync(path, "first\n");
    const agent = await begin({ logs: [{ path, service: "shop" }] }, busLink());
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
      busLink(),
    );
    const pid = () => JSON.parse(readFileSync(join(root, "agent/services/shop.pid"), "utf8")).pid;
    const before = pid();
    await send(command("c1", "service.restart", { service: "shop" }));
    await send(command("c2", "files.free", { path: "cache", target_bytes: 150_000 }));
    await send(command("c3", "exec.run", { name: "hello", args: { who: "you" } }));
    await send(command("c4", "exec.run", { name: "rm", args: {} }));
    const forged = command("c5", "service.restart", { service: "shop" });
    await send({ ...forged, signed: { ...forged.signed, signature: command("c6", "x", {}).signed.signature } });
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
    const first = await begin(config, busLink());
    const signed = command("c1", "exec.run", { name: "note", args: {} });
    await send(signed);
    await send(signed);
    await until(() => results().length >= 1);
    await first.stop();
    const before = results().length;
    await begin(config, busLink());
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

describe("orders for many hosts", () => {
  const sleeper = { name: "sleep", command: "/bin/sleep", args: ["1000"] };
  const shell = { name: "sh", command: "/bin/sh", args: ["-c", "echo begun; exec sleep 1000"] };

  test("are taken by those that they name, each with its own proof, and by nobody else", async () => {
    const echo = { name: "echo", command: "/bin/echo", args: ["hello"] };
    await begin({ commands: [echo] }, busLink());
    const others = Array.from({ length: 999 }, (_, index) => `web-${index + 2}`);
    await send(command("c1", "exec.run", { name: "echo" }, { hosts: others }));
    await send(command("c2", "exec.run", { name: "echo" }, { hosts: [...others, "web-1"] }));
    await sendValue("c3", { hosts: ["web-1"], signed: "nothing" });
    await sendValue("c4", "no order at all");
    const whole = JSON.stringify(command("c4", "exec.run", { name: "@" }));
    // Neither may keep the agent from what comes after it.
    for (const args of [`"\\ud800"`, `${"[".repeat(50_000)}${"]".repeat(50_000)}`])
      await bus.publish([{ topic: "agent.commands", key: "c4", value: Buffer.from(whole.replace('"@"', args)) }]);
    await send(command("c5", "exec.run", { name: "echo" }));
    await until(() => results().length === 3);
    const ran = results().filter(({ state }) => state !== "refused");
    expect(ran.map(({ command_id, state, stdout }) => [command_id, state, stdout])).toEqual([
      ["c2", "succeeded", "hello\n"],
      ["c5", "succeeded", "hello\n"],
    ]);
  });

  test("tell how they get on, with their output while it comes, and end when they are cancelled", async () => {
    await begin({ commands: [shell] }, busLink());
    await send(command("c1", "exec.run", { name: "sh" }));
    await until(() => progress().some(({ output }) => output !== null));
    expect(progress().find(({ output }) => output !== null)).toMatchObject({
      command_id: "c1",
      host: "web-1",
      state: "running",
      output: { stream: "stdout", sequence: 0, data: Buffer.from("begun\n").toString("base64") },
    });
    await cancel("c1");
    await until(() => results().length === 1);
    expect(results()).toMatchObject([{ state: "cancelled", stdout: "begun\n" }]);
  });

  test("never begin once they were cancelled, whether they wait here or have not come yet", async () => {
    await begin({ commands: [sleeper], command_limits: { concurrent_max: 1 } }, busLink());
    await send(command("c1", "exec.run", { name: "sleep" }));
    await send(command("c2", "exec.run", { name: "sleep" }));
    await cancel("c2");
    await cancel("c3");
    await send(command("c3", "exec.run", { name: "sleep" }));
    await cancel("c4", ["web-2"]);
    await until(() => stateOf("c2") !== undefined && stateOf("c3") !== undefined);
    expect([stateOf("c2"), stateOf("c3")]).toEqual(["cancelled", "cancelled"]);
    expect(results().every(({ started_at_unix_ms }) => started_at_unix_ms === null)).toBe(true);
    await cancel("c1", ["web-1"]);
    await until(() => stateOf("c1") !== undefined);
    expect(stateOf("c1")).toBe("cancelled");
  });

  test("are refused by the host's own policy, whatever was granted", async () => {
    await begin(
      {
        site: "dc-1",
        commands: [sleeper, { ...shell, name: "sh-2" }],
        policy: {
          commands: { deny: ["sl*"] },
          requested_by: { deny: ["mallory"] },
          max_share_of_site: 0.1,
        },
      },
      busLink(),
    );
    const share = (targeted: number, of: number) => ({ targets: { sites: { "dc-1": { targeted, of } } } });
    await send(command("c1", "exec.run", { name: "sleep" }, share(1, 100)));
    await send(command("c2", "exec.run", { name: "sh-2" }, { ...share(1, 100), requested_by: "mallory" }));
    await send(command("c3", "exec.run", { name: "sh-2" }, share(11, 100)));
    await send(command("c4", "exec.run", { name: "sh-2" }));
    await send(command("c5", "exec.run", { name: "sh-2" }, { ...share(1, 100), risk: "read_only" }));
    await send(command("c6", "exec.run", { name: "sh-2" }, { ...share(1, 100), approvals: [] }));
    await until(() => results().length === 6);
    expect(results().map(({ state }) => state)).toEqual(Array(6).fill("refused"));
    expect(Object.fromEntries(results().map(({ command_id, message }) => [command_id, message]))).toEqual({
      c1: expect.stringContaining("does not allow the command"),
      c2: expect.stringContaining("does not let mallory ask"),
      c3: expect.stringContaining("11 of 100"),
      c4: expect.stringContaining("does not say"),
      c5: "granted as read_only, but exec.run is reversible here",
      c6: expect.stringContaining("wants 1 approvals"),
    });
  });
});
