import { type ChildProcess, execFile, spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { freePort } from "../fixtures/free-port.ts";
import { type PlatformProcess, runHomeostat } from "./platform-process.ts";

const HOMEOSTAT = fileURLToPath(new URL("../../app/bin/homeostat.mjs", import.meta.url));
const AGENT = fileURLToPath(new URL("../../agent/bin/homeostat-agent.mjs", import.meta.url));
const LOOK_MS = 200;
const COMMAND_MS_MAX = 120_000;

export interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const run = (file: string, args: readonly string[], env: Record<string, string>): Promise<Said> =>
  new Promise((resolve) => {
    const options = { timeout: COMMAND_MS_MAX, env: { PATH: process.env.PATH ?? "", ...env }, maxBuffer: 67_108_864 };
    const child = execFile(file, [...args], options, (error, out, err) =>
      resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : -1, out, err }),
    );
    child.stdin?.end();
  });

/** `homeostat …` that asks no platform. */
export const offline = (...args: readonly string[]): Promise<Said> => run(process.execPath, [HOMEOSTAT, ...args], {});

/** `homeostat-agent …`, of a release or of the sources. */
export const agentCli = (args: readonly string[], release?: string): Promise<Said> =>
  run(process.execPath, [release === undefined ? AGENT : join(release, "bin", "homeostat-agent.mjs"), ...args], {});

/** What it said, given that it went well. */
export const well = (said: Said): Said => {
  expect(said, said.err).toMatchObject({ code: 0 });
  return said;
};

/** Until it holds; the test's own limit ends what never does. */
export const until = async <T>(look: () => Promise<T> | T, holds: (seen: T) => boolean): Promise<T> => {
  for (;;) {
    const seen = await look();
    if (holds(seen)) return seen;
    await delay(LOOK_MS);
  }
};

/** An Ed25519 pair in two files: their paths. */
const keyPair = (dir: string): { readonly key: string; readonly publicKey: string } => {
  const pair = generateKeyPairSync("ed25519");
  const key = join(dir, "publisher.pem");
  const publicKey = join(dir, "publisher.pub.pem");
  writeFileSync(key, pair.privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  writeFileSync(publicKey, pair.publicKey.export({ type: "spki", format: "pem" }));
  return { key, publicKey };
};

/** The agent under its supervisor, in a process group of its own. */
const superviseAgent = (release: string, config: string): ChildProcess =>
  spawn(process.execPath, [join(release, "bin", "homeostat-agent.mjs"), "run", "--config", config], {
    stdio: "ignore",
    detached: true,
  });

/** By this signal, if it has not ended before; the exit code, null when it was killed. */
const end = async (supervisor: ChildProcess, signal: (pid: number) => void): Promise<number | null> => {
  const { pid, exitCode, signalCode } = supervisor;
  if (pid === undefined || exitCode !== null || signalCode !== null) return exitCode;
  const ended = new Promise<number | null>((resolve) => supervisor.once("exit", resolve));
  signal(pid);
  return ended;
};

const filesIn = (dir: string): string[] =>
  readdirSync(dir).flatMap((name) => {
    const path = join(dir, name);
    return statSync(path).isDirectory() ? filesIn(path) : [path];
  });

const VERSION = '"0.1.0"';

/** The same release under another number; `spoil` makes its resident process end as soon as it is started. */
const releaseAs = (release: string, out: string, version: string, spoil: boolean): void => {
  mkdirSync(out, { recursive: true });
  cpSync(release, out, { recursive: true });
  const ours = [...filesIn(join(out, "lib")), ...filesIn(join(out, "setup"))];
  for (const path of [...ours, join(out, "package.json"), join(out, "plugin.json")]) {
    const text = readFileSync(path, "utf8");
    const changed = text.replaceAll(VERSION, JSON.stringify(version));
    if (changed !== text) writeFileSync(path, changed);
  }
  chmodSync(join(out, "bin", "homeostat-agent.sh"), 0o755);
  const main = join(out, "lib", "agent", "src", "host", "standalone", "main.js");
  if (spoil) writeFileSync(main, "process.exit(3);\n");
};

/** Who may do what, each with a token of their own. */
export const TOKENS = {
  olga: "olga-has-a-long-token",
  ada: "ada-has-a-long-token",
  root: "root-has-a-long-token",
} as const;
export type Person = keyof typeof TOKENS;

/** A platform with a site and three people, a release of the agent, and hosts that run it; all in one folder that goes with them. */
export class SitePlatform {
  /** `more`: of the platform's configuration. */
  static async start(more: object = {}): Promise<SitePlatform> {
    const site = new SitePlatform(await freePort(), more);
    try {
      const [built] = await Promise.all([agentCli(["build", "--out", site.release]), site.platform.ready()]);
      if (built.code !== 0) throw new Error(`no release could be built: ${built.err}`);
      return site;
    } catch (error) {
      await site.stop();
      throw error;
    }
  }

  readonly root = mkdtempSync(join(tmpdir(), "agent-platform-"));
  readonly platform: PlatformProcess;
  /** A release of the agent, built of the sources. */
  readonly release = join(this.root, "release");
  /** Whose releases and plugins are trusted: the two halves, as files. */
  readonly publisher = keyPair(this.root);
  /** Of its site `berlin`. */
  readonly server: string;
  readonly #supervisors: ChildProcess[] = [];

  private constructor(port: number, more: object) {
    this.server = `127.0.0.1:${port}`;
    const data = join(this.root, "data");
    const config = this.write("homeostat.yaml", {
      data_dir: data,
      http: { port: 0 },
      site: { name: "berlin", listen: { host: "127.0.0.1", port }, advertise: [this.server] },
      users: [
        this.#user("olga", ["operator", "shell"]),
        this.#user("ada", ["approver"]),
        this.#user("root", ["admin", "operator"]),
      ],
      trust: { plugin_keys: [this.publisher.publicKey] },
      ...more,
    });
    this.platform = runHomeostat(["start", "--config", config], data);
  }

  #user(name: Person, roles: readonly string[]) {
    const file = join(this.root, `${name}.token`);
    writeFileSync(file, TOKENS[name]);
    return { name, roles, token: { file } };
  }

  /** A configuration, since JSON is YAML, too; its path. */
  write(name: string, config: object): string {
    const path = join(this.root, name);
    writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
    return path;
  }

  /** `homeostat …` as this person. */
  as(who: Person) {
    return (...args: readonly string[]): Promise<Said> =>
      run(process.execPath, [HOMEOSTAT, ...args, "--data-dir", join(this.root, "data")], {
        HOMEOSTAT_TOKEN: TOKENS[who],
      });
  }

  /** A token with which hosts enrol at the site; `terms` are flags. */
  async token(...terms: readonly string[]): Promise<string> {
    return well(await this.as("root")("enroll", "token", "--site", "berlin", ...terms)).out.trim();
  }

  /** Enrols the host, and leaves its agent running under a supervisor. */
  async startAgent(host: string, { token, config }: { token: string; config: string }): Promise<void> {
    const args = ["enroll", "--token", token, "--server", this.server, "--host", host, "--config", config];
    well(await agentCli(args, this.release));
    this.#supervisors.push(superviseAgent(this.release, config));
  }

  /** As a build pipeline leaves it: the release under another number as an artefact, and what is signed of it beside that. */
  async pack(version: string, spoil: boolean): Promise<string> {
    const folder = join(this.root, version);
    releaseAs(this.release, folder, version, spoil);
    const artefact = `${folder}.tar.gz`;
    well(await offline("plugins", "pack", folder, "--key", this.publisher.key, "--out", artefact));
    return artefact;
  }

  /** As a service manager ends them; the exit codes of their supervisors. */
  endAgents(): Promise<readonly (number | null)[]> {
    return Promise.all(this.#supervisors.map((one) => end(one, (pid) => process.kill(pid, "SIGTERM"))));
  }

  /** Kills agents that still run. */
  async stop(): Promise<void> {
    await Promise.all(this.#supervisors.map((one) => end(one, (pid) => process.kill(-pid, "SIGKILL"))));
    this.platform.child.kill("SIGTERM");
    await this.platform.ended();
    rmSync(this.root, { recursive: true, force: true });
  }
}
