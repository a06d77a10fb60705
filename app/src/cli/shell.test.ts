import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { duplexPair } from "node:stream";
import { fileURLToPath } from "node:url";
import { type Control, ControlConfig, createControl } from "@homeostat/agent/control";
import { createSiteServer, type SiteServer } from "@homeostat/agent/site";
import { type Bus, type Log, topics } from "@homeostat/schemas";
import { type IPty, spawn as spawnPty } from "@lydell/node-pty";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { agentApi } from "../agent-api.ts";
import { createEmbeddedBus } from "../embedded/bus/index.ts";
import { RecordedSessions } from "../shell-sessions.ts";
import { createTranscripts, TranscriptsConfig } from "../transcripts.ts";
import { EXIT } from "./exit-code.ts";
import { fleetApi, TOKEN } from "./fleet-api.fixture.ts";

const ignore = () => undefined;
const log: Log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
const keys = generateKeyPairSync("ed25519");
const HOMEOSTAT = fileURLToPath(new URL("../../bin/homeostat.mjs", import.meta.url));
const AGENT = fileURLToPath(new URL("../../../agent/bin/homeostat-agent.mjs", import.meta.url));

/** Of a hook, which ends what never comes. */
const LONG = { timeout: 90_000 };

let dir: string;
let bus: Bus;
let control: Control;
let site: SiteServer;
let sessions: RecordedSessions;
let api: ReturnType<typeof fleetApi>;
let url: string;
let agent: ChildProcess;

const startSite = async (): Promise<SiteServer> => {
  const { authority } = control;
  if (authority === null) throw new Error("control has no authority");
  const server = createSiteServer({
    site: "here",
    server: "site-1",
    listen: { host: "127.0.0.1", port: 0 },
    advertise: [],
    tls: await authority.identityFor({ kind: "site", site: "here", name: "site-1", names: ["127.0.0.1", "localhost"] }),
    uplink: () => {
      const [ours, theirs] = duplexPair();
      control.attach(theirs);
      return ours;
    },
    publish: (host, batches) => bus.publish(batches.map(({ topic, value }) => ({ topic, key: host, value }))),
    now: Date.now,
    log,
  });
  await server.start();
  return server;
};

/** An agent as it runs on a machine of its own: enrolled with a token, connected through the site server. */
const startAgent = async (): Promise<ChildProcess> => {
  const made = await control.identities?.createToken({ for: "agent", site: "here" }, "test");
  if (made === undefined || "refused" in made) throw new Error("no token");
  const server = site.address;
  const state = join(dir, "agent");
  const enrolling = spawn(
    process.execPath,
    [AGENT, "enroll", "--token", made.text, "--server", server, "--host", "web-1", "--dir", state],
    { stdio: ["ignore", "inherit", "inherit"] },
  );
  expect((await once(enrolling, "exit"))[0]).toBe(0);
  const config = join(dir, "agent.yaml");
  const settings = {
    dir: state,
    servers: [server],
    agent: {
      shell: { enabled: true, command: ["/bin/sh"] },
      policy: { approvals_min: { destructive: 0 } },
      heartbeat_ms: 1000,
    },
  };
  writeFileSync(config, JSON.stringify(settings));
  return spawn(process.execPath, [AGENT, "run", "--config", config], { stdio: "ignore" });
};

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "homeostat-shell-verb-"));
  bus = await createEmbeddedBus({ dir: join(dir, "bus"), topics: topics(), now: Date.now, log });
  control = createControl({
    bus,
    config: ControlConfig.parse({ policy: { approvals_of: { "shell.open": 1 } } }),
    dataDir: join(dir, "control"),
    signingKey: keys.privateKey,
    now: Date.now,
    log,
    newId: randomUUID,
  });
  await control.start();
  await control.leads(new AbortController().signal);
  site = await startSite();
  await vi.waitFor(() => expect(control.health().servers).toBe(1), LONG);
  agent = await startAgent();
  const config = TranscriptsConfig.parse({});
  const transcripts = createTranscripts({ dir: join(dir, "transcripts"), config, now: Date.now });
  const sessionBytesMax = config.session_bytes_max;
  sessions = new RecordedSessions({ control, transcripts, sessionBytesMax, now: Date.now, log });
  api = fleetApi({ log, agentPlatform: agentApi(control, sessions) });
  url = await api.listen({ host: "127.0.0.1", port: 0 });
  await vi.waitFor(() => expect(control.agent("web-1")?.server).toEqual(expect.any(String)), LONG);
});
afterAll(async () => {
  agent.kill("SIGTERM");
  await once(agent, "exit");
  await api.close();
  await sessions.stop();
  await site.stop({ drainMs: 0 });
  await control.stop();
  await bus.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** A person at a terminal of their own. */
const terminal = (
  ...args: readonly string[]
): { pty: IPty; sees(pattern: RegExp): Promise<RegExpExecArray>; ended: Promise<number> } =>
  terminalOf(process.execPath, [HOMEOSTAT, ...args]);

const terminalOf = (program: string, args: string[]): ReturnType<typeof terminal> => {
  const pty = spawnPty(program, args, {
    name: "xterm",
    cols: 97,
    rows: 23,
    env: { PATH: process.env.PATH, HOMEOSTAT_API: url, HOMEOSTAT_TOKEN: TOKEN, TERM: "xterm" },
  });
  let screen = "";
  let look: () => void = ignore;
  pty.onData((data) => {
    screen += data;
    look();
  });
  const ended = new Promise<number>((resolve) => pty.onExit(({ exitCode }) => resolve(exitCode)));
  const sees = (pattern: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      look = () => {
        const found = pattern.exec(screen);
        if (found !== null) resolve(found);
      };
      void ended.then(() => reject(new Error(`ended before it showed ${pattern}:\n${screen}`)));
      look();
    });
  return { pty, sees, ended };
};

const ADA = { name: "ada", roles: ["approver"] } as const;

/** The id of the session that waits for somebody else. */
const awaited = async ({ sees }: ReturnType<typeof terminal>): Promise<string> => {
  const [, id = ""] = await sees(/awaits somebody else: homeostat approve (\S+)/);
  return id;
};
const approved = async (one: ReturnType<typeof terminal>): Promise<string> => {
  const id = await awaited(one);
  expect(await control.approve(id, ADA)).not.toHaveProperty("refused");
  return id;
};
const stateOf = (id: string) => control.job(id)?.job.state;

describe("homeostat shell, from a terminal through control, site and agent to a host", () => {
  it("is a terminal there: its size, Ctrl-C, and a transcript that is whole", async () => {
    const one = terminal("shell", "web-1", "--reason", "to see");
    const { pty, sees, ended } = one;
    await sees(/session \S+ on web-1, recorded/);
    await approved(one);
    await sees(/[#$] $/);
    pty.write("stty size\r");
    await sees(/23 97\r+\n/);
    pty.resize(111, 31);
    await sees(/[#$] $/);
    pty.write("until [ \"$(stty size)\" = '31 111' ]; do sleep 0.05; done; echo re$((1+1))sized\r");
    await sees(/re2sized/);
    pty.write("sh -c 'echo be$((1+1))gan; exec sleep 1000'\r");
    await sees(/be2gan/);
    pty.write("\x03");
    await sees(/\^C\s+[#$] $/);
    pty.write("exit\r");
    expect(await ended).toBe(0);
    await sessions.tend();
    const [row] = await sessions.transcripts();
    expect(row).toMatchObject({ host: "web-1", opened_by: "local-admin", state: "whole" });
    const text = readFileSync(join(dir, "transcripts", `${row?.session_id}.cast`), "utf8");
    expect(text).toContain('"r","111x31"');
    expect(text).toContain("re2sized");
  });

  it("ends with Ctrl-C while it awaits approval, whatever was typed before, and then nobody can approve it", async () => {
    const one = terminal("shell", "web-1");
    const id = await awaited(one);
    one.pty.write("x\x03");
    expect(await one.ended).toBe(130);
    expect(stateOf(id)).toBe("cancelled");
    expect(await control.approve(id, ADA)).toMatchObject({ refused: "wrong_state" });
  });

  it("is not left running by a command that is told to end", async () => {
    const one = terminal("shell", "web-1");
    const id = await approved(one);
    await one.sees(/[#$] $/);
    one.pty.kill("SIGTERM");
    expect(await one.ended).toBe(130);
    expect(stateOf(id)).toMatch(/^(stopping|cancelled)$/);
  });

  it("has a usual size where the terminal does not know its own", async () => {
    const one = terminalOf("/bin/sh", [
      "-c",
      'stty cols 0 rows 0; exec "$@"',
      "sh",
      process.execPath,
      HOMEOSTAT,
      "shell",
      "web-1",
    ]);
    await approved(one);
    await one.sees(/[#$] $/);
    one.pty.write("stty size\r");
    await one.sees(/24 80\r+\n/);
    one.pty.write("exit\r");
    expect(await one.ended).toBe(0);
  });

  it("is refused, as a command is, to a host that is sent nothing: exit code 4", async () => {
    const become = async (to: "quarantine" | "readmit", state: string) => {
      expect(await control.identities?.[to]("web-1", "ada", "odd logins")).not.toHaveProperty("refused");
      await expect.poll(() => control.agent("web-1")?.state).toBe(state);
    };
    await become("quarantine", "quarantined");
    for (const words of [
      ["shell", "web-1"],
      ["run", "hello", "--on", "web-1"],
    ]) {
      const one = terminal(...words);
      await one.sees(/quarantined or revoked, so nothing is sent to them: web-1/);
      expect(await one.ended).toBe(EXIT.refused);
    }
    await become("readmit", "online");
  });
});
