import { spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { appendFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import type { Agent } from "@homeostat/agent";
import type { Control } from "@homeostat/agent/control";
import { JobState, PluginManifest, signRelease } from "@homeostat/schemas";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import type { RecordedSessions, ShellSessionsOptions } from "../shell-sessions.ts";
import { type ControlApi, openControlApi } from "./control-api.fixture.ts";
import { EXIT } from "./exit-code.ts";
import { TOKEN } from "./fleet-api.fixture.ts";
import { VERBS } from "./verbs.ts";

const ignore = () => undefined;
const keys = generateKeyPairSync("ed25519");
const USERS = [
  { name: "vera", roles: ["viewer"], token: "token-of-vera-the-viewer" },
  { name: "olga", roles: ["operator"], token: "token-of-olga-the-operator" },
  { name: "ada", roles: ["approver"], token: "token-of-ada-the-approver" },
  { name: "sid", roles: ["shell"], token: "token-of-sid-of-the-shell" },
] as const;

const sh = (name: string, script: string) => ({ name, command: "/bin/sh", args: ["-c", script] });
const COMMANDS = [
  sh("hello", "echo hello from here; echo and to stderr >&2"),
  sh("seven", "exit 7"),
  sh("hostile", "printf 'a\\033]52;c;cm0=\\007b\\n'"),
  sh("slow", "echo begun; sleep 600"),
];

let at: ControlApi;
let dir: string;
let control: Control;
let sessions: RecordedSessions;

/** The agents here speak to the bus themselves; sessions are for those that come through a site server. */
const throughASite = (control: Control): ShellSessionsOptions["control"] => ({
  agent: (host) => {
    const view = control.agent(host);
    return view === null ? null : { ...view, link: "channel" };
  },
  submit: (...terms) => control.submit(...terms),
  jobs: (...terms) => control.jobs(...terms),
  cancel: (...terms) => control.cancel(...terms),
  follow: (...terms) => control.follow(...terms),
  input: (...terms) => control.input(...terms),
  resize: (...terms) => control.resize(...terms),
  audit: control.audit,
});
let url: string;
let agents: Agent[];

const MEASURES_NOTHING = Object.fromEntries(
  ["cpu", "load", "memory", "paging", "filesystem"].map((name) => [name, false]),
);
const startAgent = async (host: string, labels: Record<string, string>): Promise<Agent> => {
  const shell = { enabled: true, command: ["/bin/sh", "-c", "printf 'on \\033[1mthe\\033[0m host\\n'"] };
  const agent = at.agent(host, { labels, collectors: MEASURES_NOTHING, commands: COMMANDS, shell });
  await agent.start();
  return agent;
};

beforeAll(async () => {
  at = await openControlApi({ users: USERS, sessionsOn: throughASite });
  ({ dir, control, sessions, url } = at);
  agents = [await startAgent("web-1", { role: "web" }), await startAgent("web-2", { role: "web" })];
  await vi.waitFor(() => expect(control.agents()).toHaveLength(2), { timeout: 90_000 });
});
afterAll(async () => {
  for (const agent of agents) await agent.stop();
  await at.close();
});

/** A verb, as main.ts runs it. */
const run = async (line: string, token = TOKEN, signal = new AbortController().signal) => {
  const [verb = "", ...args] = line.split(" ").map((word) => word.replaceAll("_", " "));
  const [out, err]: [string[], string[]] = [[], []];
  const env = { HOMEOSTAT_API: url, HOMEOSTAT_TOKEN: token };
  const input = {
    args,
    env,
    signal,
    onHangup: ignore,
    out: (text: string) => void out.push(text),
    err: (text: string) => void err.push(text),
  };
  const code = await (VERBS[verb] ?? Promise.reject)(input);
  return { code, out: out.join("\n"), err: err.join("\n") };
};
const tokenOf = (name: (typeof USERS)[number]["name"]): string =>
  USERS.find((user) => user.name === name)?.token ?? TOKEN;
const Line = z.looseObject({ type: z.string() });
const lines = (text: string) => text.split("\n").map((line) => Line.parse(JSON.parse(line)));

describe("a person at the command line of a fleet", () => {
  it("sees who is there, and whom an expression means", async () => {
    expect((await run("agents")).out).toMatch(/^host +state.*\nweb-1 +online.*\nweb-2 +online/);
    expect((await run("agents --labels role=db")).out).toBe("no agents");
    expect((await run("agents show web-1")).out).toContain("role=web");
    const unreadable = { name: "UsageError", message: expect.stringMatching(/column \d+/) };
    await expect(run("agents --labels role_in_(")).rejects.toMatchObject(unreadable);
    await expect(run("agents --state bogus")).rejects.toThrow("--state bogus: want one of online, ");
    await expect(run("agents show web-9")).rejects.toThrow('no agent "web-9"');
  });

  it("runs a declared command on one host, and has its output as it is", async () => {
    expect(await run("run hello --on web-1")).toEqual({
      code: EXIT.succeeded,
      out: "hello from here",
      err: "and to stderr",
    });
  });

  it("runs on several, and is told whose each line is, and what became of all", async () => {
    const { code, out, err } = await run("run hello --labels role=web --no-ramp");
    expect(code).toBe(EXIT.succeeded);
    expect(out.split("\n").sort()).toEqual(["[web-1] hello from here", "[web-2] hello from here"]);
    expect(err).toMatch(/job \S+ succeeded \(2 succeeded\)/);
  });

  it("has an exit code for how it went", async () => {
    expect((await run("run seven --on web-1")).code).toBe(EXIT.failed);
    expect((await run("run seven --on web-1 --exit-code")).code).toBe(7);
    expect((await run("run no-such-command --on web-1")).code).toBe(EXIT.refused);
    expect((await run("run hello --labels role=db")).code).toBe(EXIT.nothingReached);
    await expect(run("run hello")).rejects.toThrow("say on which hosts");
    expect((await run("run hello --on web-9")).code).toBe(EXIT.calledWrongly);
    expect(await run("run hello --on web-1", tokenOf("vera"))).toMatchObject({
      code: EXIT.refused,
      err: "homeostat: vera has not the role operator that this wants",
    });
    expect(await run("run hello --on web-1", "a-token-of-nobody")).toMatchObject({
      code: EXIT.refused,
      err: expect.stringContaining("does not know this token"),
    });
    const empty = join(dir, "empty.token");
    writeFileSync(empty, "\n");
    await expect(run(`run hello --on web-1 --token-file ${empty}`)).rejects.toThrow(
      `--token-file ${empty}: it is empty`,
    );
  });

  it("sees control characters of a host, instead of their working", async () => {
    expect((await run("run hostile --on web-1")).out).toBe("a\\x1b]52;c;cm0=\\x07b");
    expect((await run("run hostile --on web-1 --raw")).out).toBe("a\x1b]52;c;cm0=\x07b");
  });

  it("is asked for nothing when only looking: --dry-run", async () => {
    const before = (await run("jobs --json")).out;
    const { out } = await run("run files.free --all --dry-run");
    expect(out).toContain("would run on 2 hosts, risk destructive\nneeds 1 approval by others");
    expect((await run("jobs --json")).out).toBe(before);
  });

  it("stops waiting, while the job goes on, and cancels it for good", async () => {
    const ctrlC = new AbortController();
    const waiting = run("run slow --on web-1 --json", TOKEN, ctrlC.signal);
    await expect.poll(() => control.jobs({ states: ["running"] }).length).toBe(1);
    const jobId = control.jobs({ states: ["running"] })[0]?.job_id ?? "";
    ctrlC.abort();
    const cut = await waiting;
    expect(cut).toMatchObject({ code: EXIT.stoppedEarly, err: expect.stringContaining(`cancel ${jobId}`) });
    const summary = { type: "summary", job_id: jobId, state: "running", exit_code: EXIT.stoppedEarly };
    expect(lines(cut.out).at(-1)).toMatchObject({ ...summary, invocations: [{ host: "web-1" }] });
    expect((await run(`job ${jobId} --wait-for 1s`)).code).toBe(EXIT.timedOutWaiting);
    expect((await run(`cancel ${jobId}`)).code).toBe(0);
    expect((await run(`job ${jobId} --follow`)).code).toBe(EXIT.failed);
    expect((await run(`job ${jobId}`)).out).toMatch(/web-1 +cancelled/);
    expect((await run(`cancel ${jobId}`)).code).toBe(EXIT.refused);
  });

  it("is told which hosts were never sent anything, where errors stopped the job", async () => {
    const { code, err } = await run("run seven --all");
    expect(code).toBe(EXIT.failed);
    expect(err).toMatch(/^web-\d +not sent/m);
    expect(err).toMatch(/\(.*\b1 not sent\b.*\)/);
    const { jobs } = JSON.parse((await run("jobs --executor seven --limit 1 --json")).out);
    expect((await run(`job ${jobs[0].job_id}`)).out).toMatch(/web-\d +not sent/);
    expect(lines((await run(`job ${jobs[0].job_id} --state queued --json`)).out)[1]).toMatchObject({ state: "queued" });
    expect((await run("jobs")).out).toContain("1 not sent, 1 failed");
  });

  it("finds jobs by what the list of them shows, and is told what it cannot ask for", async () => {
    expect((await run("jobs --executor hello")).out).toMatch(/^job .*\n(\S+ +succeeded +hello .*\n?)+$/);
    expect((await run("jobs --executor hello --limit 1")).out.split("\n")).toHaveLength(2);
    expect((await run("jobs --executor exec.run --state running,failed")).out).toMatch(/ seven /);
    expect((await run("jobs --executor noise")).out).toBe("no jobs");
    const wrong = (message: string) => ({ name: "UsageError", message });
    await expect(run("jobs --limit 0")).rejects.toMatchObject(wrong("--limit 0: want a number from 1 to 1000"));
    await expect(run("jobs --state bogus")).rejects.toMatchObject(
      wrong(`--state bogus: want one of ${JobState.options.join(", ")}`),
    );
    const { jobs } = JSON.parse((await run("jobs --executor hello --limit 1 --json")).out);
    await expect(run(`job ${jobs[0].job_id} --host web-9`)).rejects.toThrow(
      `job ${jobs[0].job_id} has no host "web-9"`,
    );
    expect((await run(`job ${jobs[0].job_id} --state lost`)).out).toMatch(/\nno host of it is lost$/);
    await expect(run("job any --state bogus")).rejects.toThrow("--state bogus: want one of queued, ");
  });

  it.each(["run ", "job ", "cancel ", "approve ", "shell ", "replay ", "enroll revoke ", "plugins wish --all "])(
    "asks nobody about an argument that a script left empty: %s",
    async (line) => {
      await expect(run(line)).rejects.toMatchObject({ name: "UsageError", message: /^give exactly one / });
    },
  );

  it("refuses to wait for longer than a timer can, which would not wait at all", async () => {
    const tooLong = "--wait-for 30d: want at most 24d";
    await expect(run("run hello --on web-1 --wait-for 30d")).rejects.toThrow(tooLong);
    await expect(run("job any --wait-for 30d")).rejects.toThrow(tooLong);
  });

  it("does not call a job failed that it can hear no more of", async () => {
    // As a proxy before the platform may do: it lets the job through, and neither the stream nor who is offline.
    const proxy = createServer(async (request, response) => {
      const body = Buffer.concat(await request.toArray());
      if (/\/events$|\/agents\?/.test(request.url ?? "")) return response.writeHead(404).end("no such page");
      const { authorization = "", "content-type": type = "" } = request.headers;
      const { method = "GET" } = request;
      const headers = { authorization, "content-type": type };
      const answer = await fetch(`${url}${request.url}`, { method, headers, ...(method === "POST" && { body }) });
      return response.writeHead(answer.status).end(await answer.text());
    }).listen(0, "127.0.0.1");
    await once(proxy, "listening");
    const address = proxy.address();
    const port = address !== null && typeof address === "object" ? address.port : 0;
    const cut = await run(`run hello --on web-1 --json --api http://127.0.0.1:${port}`);
    expect(cut).toMatchObject({
      code: EXIT.lost,
      err: expect.stringMatching(/^homeostat: no such page\n.* job \S+ --follow$/),
    });
    expect(lines(cut.out).at(-1)).toMatchObject({ type: "summary", exit_code: EXIT.lost });
    expect(await run(`run hello --on web-1 --api http://127.0.0.1:${port}`)).toMatchObject({
      code: EXIT.lost,
      err: expect.stringMatching(/ job \S+ --follow$/),
    });
    proxy.close();
  });

  it("tells programs everything as lines of JSON", async () => {
    const told = lines((await run("run hello --on web-2 --json")).out);
    expect(told[0]?.type).toBe("job");
    expect(told.at(-1)).toMatchObject({
      type: "summary",
      state: "succeeded",
      exit_code: 0,
      invocations: [{ host: "web-2", state: "succeeded", exit_code: 0, message: "" }],
    });
  });

  it("waits for a second person with what is dangerous, who is not the one that asked", async () => {
    const asked = await run("run files.free --arg path=x --all --detach", tokenOf("olga"));
    expect(asked.code).toBe(0);
    expect((await run(`approve ${asked.out}`, tokenOf("olga"))).code).toBe(EXIT.refused);
    await expect(run("approve nope", tokenOf("ada"))).rejects.toThrow('there is no run or job "nope"');
    expect((await run(`reject ${asked.out} --note no`, tokenOf("ada"))).out).toBe(`job ${asked.out} is rejected`);
    expect((await run(`job ${asked.out} --follow`)).code).toBe(EXIT.refused);
  });

  it("reads what was done in the audit log, and proves it whole", async () => {
    const { out } = await run("audit --json");
    expect(out.split("\n").some((line) => JSON.parse(line).who === "olga")).toBe(true);
    expect(await run("audit verify")).toMatchObject({ code: 0, out: expect.stringMatching(/^whole: \d+ records/) });
    expect((await run("audit", tokenOf("vera"))).code).toBe(EXIT.refused);
  });

  it("no longer follows the audit log for a reader that has gone", async () => {
    const bin = join(import.meta.dirname, "..", "..", "bin", "homeostat.mjs");
    const env = { ...process.env, HOMEOSTAT_API: url, HOMEOSTAT_TOKEN: TOKEN };
    const child = spawn(process.execPath, [bin, "audit", "--follow"], { env, stdio: ["ignore", "pipe", "inherit"] });
    const ended = once(child, "exit");
    await once(child.stdout, "data");
    child.stdout.destroy();
    // It learns that from what it has to show next.
    await run("run hello --on web-1");
    expect(await ended).toEqual([EXIT.stoppedEarly, null]);
  }, 60_000);

  it("gives out tokens to enrol with, and takes them back", async () => {
    const made = await run("enroll token --site s1 --host db-1");
    expect(made).toMatchObject({ code: 0, out: expect.stringMatching(/^[0-9a-f]{16}\.\S+\.[0-9a-f]{64}$/) });
    const id = made.out.split(".")[0] ?? "";
    expect((await run("enroll tokens")).out).toContain(id);
    expect((await run(`enroll withdraw ${id}`)).code).toBe(0);
    expect((await run("enroll list")).out).toBe("nobody is enrolled");
    expect((await run("enroll token --site s1", tokenOf("olga"))).code).toBe(EXIT.refused);
  });

  it("can tell a recorded session that was altered from one that was not", async () => {
    const opened = await sessions.open(
      { host: "web-1", for_ms: 60_000, reason: "to see", columns: 80, rows: 24, term: "xterm" },
      { name: "sid", roles: ["shell"] },
    );
    if ("refused" in opened) throw new Error(opened.message);
    const id = opened.job_id;
    expect(opened.state).toBe("awaiting_approval");
    expect((await run(`approve ${id}`, tokenOf("ada"))).code).toBe(0);
    const state = async () => {
      await sessions.tend();
      return (await sessions.transcripts()).find(({ session_id }) => session_id === id)?.state;
    };
    await expect.poll(state).toBe("whole");
    const [header = "", ...events] = readFileSync(join(dir, "transcripts", `${id}.cast`), "utf8")
      .trim()
      .split("\n");
    expect(JSON.parse(header)).toMatchObject({ version: 2, width: 80, height: 24, title: "sid on web-1" });
    expect(events.map((line) => JSON.parse(line))).toContainEqual([
      expect.any(Number),
      "o",
      expect.stringContaining("on \x1b[1mthe\x1b[0m host"),
    ]);
    expect((await run(`replay ${id} --speed 1000`)).err).toContain("whole");
    appendFileSync(join(dir, "transcripts", `${id}.cast`), '[9,"o","and this"]\n');
    expect(await run(`replay ${id} --speed 1000`)).toMatchObject({ code: 1, err: expect.stringContaining("altered") });
    await expect(run("replay ../../secrets")).rejects.toThrow("no transcript");
  });

  it("opens no session as a job, which would not be recorded", async () => {
    expect(await run("run shell.open --on web-1")).toMatchObject({
      code: EXIT.calledWrongly,
      err: expect.stringContaining("homeostat shell"),
    });
    expect(await run("shell web-1", tokenOf("olga"))).toMatchObject({ code: EXIT.refused });
  });

  it("is told which version of the agent it has to name, before anything is done", async () => {
    await expect(run("agents update --all")).rejects.toThrow("--version V of one that is published, or --release FILE");
    await expect(run("agents update --all --version 9.9.9 --release x")).rejects.toThrow("say to which release");
    await expect(run("agents update --version 9.9.9")).rejects.toThrow("say on which hosts");
    await expect(run("agents update --all --version 9.9.9")).rejects.toThrow("no homeostat-agent 9.9.9 is published");
    const other = join(dir, "other.tar.gz");
    const manifest = { name: "disk-watch", version: "1.0.0", kind: "static", run: { command: "run" } };
    const release = signRelease(
      { manifest: PluginManifest.parse(manifest), sha256: "0".repeat(64), sizeBytes: 1 },
      keys.privateKey,
    );
    writeFileSync(`${other}.release.json`, JSON.stringify(release));
    await expect(run(`agents update --all --release ${other}`)).rejects.toThrow("is disk-watch: want a release of");
    expect((await run("jobs --executor agent.update")).out).toBe("no jobs");
    writeFileSync(`${other}.release.json`, "{}");
    await expect(run(`agents update --all --release ${other}`)).rejects.toThrow(`${other}.release.json: `);
  });

  it("is told what an update of the agent would do, and nothing is published for that", async () => {
    const path = join(dir, "agent.tar.gz");
    const manifest = { name: "homeostat-agent", version: "9.9.9", kind: "static", run: { command: "run" } };
    const signing = { manifest: PluginManifest.parse(manifest), sha256: "0".repeat(64), sizeBytes: 1 };
    writeFileSync(`${path}.release.json`, JSON.stringify(signRelease(signing, keys.privateKey)));
    writeFileSync(path, "?");
    const { code, err } = await run(`agents update --all --release ${path} --dry-run`);
    expect(err).toMatch(/^left out, is updated with its platform: web-\d, web-\d$/m);
    expect(code).toBe(EXIT.nothingReached);
    expect((await run("plugins list")).out).toBe("nothing is published");
  });

  it("packs, signs and publishes a plugin", async () => {
    const key = join(dir, "publisher.pem");
    writeFileSync(key, keys.privateKey.export({ type: "pkcs8", format: "pem" }));
    expect((await run("plugins list")).out).toBe("nothing is published");
    await expect(run(`plugins pack ${dir} --key ${key}`)).rejects.toThrow("plugin.json");
    expect(readdirSync(dir)).not.toContain("undefined.tar.gz");
  });
});
