import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ClickHouseClient, ClickHouseLogLevel, createClient } from "@clickhouse/client";
import type { Log } from "@homeostat/schemas";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { EmbeddedStoreError } from "./embedded-store-error.ts";
import { renderEngineConfiguration, renderEngineUsers } from "./engine-configuration.ts";
import { type Machine, whyUnsupported } from "./engine-library.ts";
import { type EmbeddedStore, startEmbeddedStore } from "./start-embedded-store.ts";

const nothing = () => undefined;
const log: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
const isAlive = (pid: number): boolean =>
  existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));

const connect = ({ url, username, password }: Pick<EmbeddedStore, "url" | "username" | "password">): ClickHouseClient =>
  createClient({ url, username, password, log: { level: ClickHouseLogLevel.OFF } });
const answer = async (client: ClickHouseClient, query: string): Promise<string> =>
  (await (await client.query({ query, format: "TabSeparated" })).text()).trim();

const MAKE_TABLE = [
  "CREATE DATABASE IF NOT EXISTS homeostat",
  "CREATE TABLE IF NOT EXISTS homeostat.t (n UInt64) ENGINE = MergeTree ORDER BY n",
];

describe("the embedded store's process", () => {
  let dir: string;
  const running: EmbeddedStore[] = [];
  const clients: ClickHouseClient[] = [];

  const start = async (): Promise<{ store: EmbeddedStore; client: ClickHouseClient }> => {
    const store = await startEmbeddedStore({ dir, log });
    running.push(store);
    const client = connect(store);
    clients.push(client);
    return { store, client };
  };
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "homeostat-engine-"));
  });
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.close()));
    await Promise.all(running.splice(0).map((store) => store.stop()));
    await rm(dir, { recursive: true, force: true });
  });

  it("starts, stops in order and starts again with its rows", async () => {
    const { store, client } = await start();
    for (const query of [...MAKE_TABLE, "INSERT INTO homeostat.t SELECT number FROM numbers(1000)"])
      await client.command({ query });
    await client.close();
    await store.stop();
    expect(await store.exited).toMatchObject({ code: 0, signal: null, wasAsked: true });
    const again = await start();
    expect(again.store.password).not.toBe(store.password);
    expect(await answer(again.client, "SELECT count() FROM homeostat.t")).toBe("1000");
  });

  it("keeps every acknowledged row through kill -9 in the middle of inserts", async () => {
    let acknowledged = 0;
    for (let round = 0; round < 3; round++) {
      const { store, client } = await start();
      for (const query of MAKE_TABLE) await client.command({ query });
      expect(Number(await answer(client, "SELECT count() FROM homeostat.t"))).toBeGreaterThanOrEqual(acknowledged);
      expect(await answer(client, "SELECT count() % 1000 FROM homeostat.t")).toBe("0");
      const inserting = (async () => {
        for (;;) {
          await client.command({ query: `INSERT INTO homeostat.t SELECT number FROM numbers(1000)` });
          acknowledged += 1000;
          if (acknowledged % 15_000 === 0) process.kill(store.pid, "SIGKILL");
        }
      })();
      await expect(inserting).rejects.toBeDefined();
      expect(await store.exited).toMatchObject({ signal: "SIGKILL", wasAsked: false });
    }
    const { client } = await start();
    const rows = Number(await answer(client, "SELECT count() FROM homeostat.t"));
    expect(rows).toBeGreaterThanOrEqual(acknowledged);
    expect(rows).toBeLessThanOrEqual(acknowledged + 3000);
  });

  it("lives through aborted requests, clients that vanish and streams that nobody reads to the end", async () => {
    const { store, client } = await start();
    const port = Number(new URL(store.url).port);
    const authorization = `Basic ${Buffer.from(`${store.username}:${store.password}`).toString("base64")}`;
    const request = (query: string, length = "") =>
      `POST /?query=${encodeURIComponent(query)} HTTP/1.1\r\nHost: x\r\nAuthorization: ${authorization}\r\n${length}\r\n`;
    for (const query of MAKE_TABLE) await client.command({ query });
    for (let i = 0; i < 60; i++) {
      const socket = net.connect(port, "127.0.0.1");
      socket.on("error", nothing);
      await once(socket, "connect");
      // In turn: a body that never comes, an answer that is not read, a hang-up before the query is over.
      if (i % 3 === 0)
        socket.write(`${request("INSERT INTO homeostat.t FORMAT Native", "Content-Length: 100000\r\n")}abc`);
      else
        socket.write(
          request(i % 3 === 1 ? "SELECT number FROM numbers(50000000)" : "SELECT sum(number) FROM numbers(3000000000)"),
        );
      if (i % 3 === 1) await once(socket, "data");
      if (i % 2 === 0) socket.resetAndDestroy();
      else socket.destroy();
    }
    for (let i = 0; i < 20; i++) {
      const aborting = new AbortController();
      const { stream } = await client.exec({
        query: "SELECT number FROM numbers(100000000) FORMAT RowBinary",
        abort_signal: aborting.signal,
      });
      await once(stream, "data");
      stream.on("error", nothing);
      stream.destroy();
    }
    expect(await answer(client, "SELECT count() FROM homeostat.t")).toBe("0");
    expect(isAlive(store.pid)).toBe(true);
  });

  it("lets nobody in without the password, and nobody at all as default", async () => {
    const { store } = await start();
    const ask = async (headers: Record<string, string>, search = "") =>
      (await fetch(`${store.url}/?query=SELECT+1${search}`, { headers: { ...headers, connection: "close" } })).status;
    const basic = (user: string, password: string) => ({
      authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`,
    });
    expect(await ask(basic(store.username, store.password))).toBe(200);
    expect(await ask({})).toBe(404);
    expect(await ask(basic("default", ""))).toBe(404);
    expect(await ask(basic(store.username, `${store.password}x`))).toBe(404);
    expect(await ask({ "x-clickhouse-user": "default" })).toBe(404);
    expect(await ask({}, "&user=default")).toBe(404);
    expect((await fetch(`${store.url}/play`, { headers: { connection: "close" } })).status).toBe(404);
  });

  it("ends with a clear error where another process uses the directory, which lives on", async () => {
    const { client } = await start();
    await expect(startEmbeddedStore({ dir, log, lockWaitMsMax: 0 })).rejects.toMatchObject({
      name: "EmbeddedStoreError",
      code: "directory_locked",
    } satisfies Partial<EmbeddedStoreError>);
    expect(await answer(client, "SELECT 1")).toBe("1");
  });

  it("ends by itself when its parent is killed, and leaves the directory to the next, which waits for it", async () => {
    const program = `import { startEmbeddedStore } from ${JSON.stringify(new URL("./start-embedded-store.ts", import.meta.url))};
      const nothing = () => undefined;
      const log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
      const { pid } = await startEmbeddedStore({ dir: process.argv[1], log });
      process.send({ pid });`;
    const parent = spawn(process.execPath, ["--input-type=module", "-e", program, dir], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    const [{ pid }] = (await once(parent, "message")) as [{ pid: number }];
    expect(isAlive(pid)).toBe(true);
    parent.kill("SIGKILL");
    const { client } = await start();
    expect(await answer(client, "SELECT 1")).toBe("1");
    expect(isAlive(pid)).toBe(false);
  });
});

describe("the user of the embedded store", () => {
  let dir: string;
  let store: EmbeddedStore;
  let client: ClickHouseClient;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "homeostat-engine-"));
    store = await startEmbeddedStore({ dir, log });
    client = connect(store);
    await client.command({ query: "CREATE DATABASE homeostat" });
  });
  afterAll(async () => {
    await client.close();
    await store.stop();
    await rm(dir, { recursive: true, force: true });
  });

  it.each([
    "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "INSERT INTO FUNCTION file('/tmp/homeostat-out', 'TSV') SELECT 1",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
    "SELECT * FROM remote('127.0.0.1:9000', 'system.one')",
    "SELECT * FROM sqlite('/tmp/x', 't')",
    "SELECT * FROM `default`.`/etc/passwd`",
    "CREATE TABLE homeostat.f (a String) ENGINE = File(TSV)",
    "CREATE TABLE homeostat.f (a String) ENGINE = URL('http://127.0.0.1:1/', 'TSV')",
    "CREATE DATABASE other",
    "CREATE USER u",
    "CREATE FUNCTION f AS x -> x",
    "SELECT * FROM system.users",
    "SELECT * FROM information_schema.tables",
    "SYSTEM SHUTDOWN",
    "SYSTEM RELOAD CONFIG",
  ])("is not allowed: %s", async (query) => {
    await expect(client.command({ query })).rejects.toThrow();
  });

  it.each(["/etc/passwd", "/proc/1/environ", `/proc/${process.pid}/environ`])(
    "cannot read %s through a function that asks for no grant",
    async (path) => {
      if (!store.isConfined)
        return expect(store.isConfined, "no Landlock in this kernel: only the grants stand").toBe(false);
      await expect(client.command({ query: `SELECT file('${path}')` })).rejects.toThrow();
    },
  );
});

describe("a machine that cannot run the engine", () => {
  const good: Machine = { platform: "linux", arch: "x64", glibcVersion: "2.36", cpuFlags: new Set(["avx2"]) };

  it.each<[string, Partial<Machine>, RegExp | null]>([
    ["what it needs", {}, null],
    ["arm64, which has no AVX2", { arch: "arm64", cpuFlags: new Set() }, null],
    ["processor flags that cannot be read", { cpuFlags: new Set() }, null],
    ["the oldest glibc that will do", { glibcVersion: "2.25" }, null],
    ["macOS", { platform: "darwin" }, /built for Linux/],
    ["another processor", { arch: "riscv64" }, /riscv64/],
    ["musl", { glibcVersion: null }, /GNU C library/],
    ["an old glibc", { glibcVersion: "2.17" }, /2\.25, this is 2\.17/],
    ["no AVX2", { cpuFlags: new Set(["sse4_2"]) }, /AVX2/],
  ])("is told so: %s", (_, changes, reason) => {
    const why = whyUnsupported({ ...good, ...changes });
    if (reason === null) expect(why).toBeNull();
    else expect(why).toMatch(reason);
  });
});

describe("the engine's configuration", () => {
  it("quotes what it is given", () => {
    const xml = renderEngineConfiguration({
      authorization: "Basic <&>",
      usersPath: `/a"b'<c>`,
      userFilesPath: "/u/",
      temporaryPath: "/t/",
      memoryBytesMax: 1,
      coldPath: "/c&d/",
    });
    expect(xml).toContain("<cold><path>/c&#38;d/</path></cold>");
    expect(xml).toContain("<users_config>/a&#34;b&#39;&#60;c&#62;</users_config>");
    expect(xml).toContain("<Authorization>Basic &#60;&#38;&#62;</Authorization>");
  });

  it("never holds the password itself among the users", () => {
    expect(renderEngineUsers({ passwordSha256: "ab12", memoryBytesMax: 1000 })).not.toMatch(/<password>/);
  });
});
