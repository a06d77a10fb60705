import { type ChildProcess, execFile, spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
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

const run = (file: string, args: readonly string[], env: Record<string, string>, input = ""): Promise<Said> =>
  new Promise((resolve) => {
    const options = { timeout: COMMAND_MS_MAX, env: { PATH: process.env.PATH ?? "", ...env }, maxBuffer: 67_108_864 };
    const child = execFile(file, [...args], options, (error, out, err) =>
      resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : -1, out, err }),
    );
    if (input !== "") child.stdin?.write(input);
    child.stdin?.end();
  });

/** `homeostat …` as whoever holds this token. */
export const cliOf =
  (dataDir: string) =>
  (token: string) =>
  (...args: readonly string[]): Promise<Said> =>
    run(process.execPath, [HOMEOSTAT, ...args, "--data-dir", dataDir], { HOMEOSTAT_TOKEN: token });

/** `homeostat …` that asks no platform. */
export const offline = (...args: readonly string[]): Promise<Said> => run(process.execPath, [HOMEOSTAT, ...args], {});

/** `homeostat-agent …`, of a release or of the sources. */
export const agentCli = (args: readonly string[], release?: string): Promise<Said> =>
  run(process.execPath, [release === undefined ? AGENT : join(release, "bin", "homeostat-agent.mjs"), ...args], {});

/** Until it holds; the test's own limit ends what never does. */
export const until = async <T>(look: () => Promise<T> | T, holds: (seen: T) => boolean): Promise<T> => {
  for (;;) {
    const seen = await look();
    if (holds(seen)) return seen;
    await delay(LOOK_MS);
  }
};

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });

/** An Ed25519 pair in two files; the path of the private half, and of the public one. */
const keyPair = (dir: string): { readonly key: string; readonly publicKey: string } => {
  const pair = generateKeyPairSync("ed25519");
  const key = join(dir, "publisher.pem");
  const publicKey = join(dir, "publisher.pub.pem");
  writeFileSync(key, pair.privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  writeFileSync(publicKey, pair.publicKey.export({ type: "spki", format: "pem" }));
  return { key, publicKey };
};

/** The agent under its supervisor, in a process group of its own. */
export const superviseAgent = (release: string, config: string): ChildProcess =>
  spawn(process.execPath, [join(release, "bin", "homeostat-agent.mjs"), "run", "--config", config], {
    stdio: "ignore",
    detached: true,
  });

export const endSupervised = async (supervisor: ChildProcess | null): Promise<void> => {
  if (supervisor === null || supervisor.exitCode !== null || supervisor.signalCode !== null) return;
  const ended = new Promise((resolve) => supervisor.once("exit", resolve));
  supervisor.kill("SIGTERM");
  await ended;
};

const filesIn = (dir: string): string[] =>
  readdirSync(dir).flatMap((name) => {
    const path = join(dir, name);
    return statSync(path).isDirectory() ? filesIn(path) : [path];
  });

const VERSION = '"0.1.0"';

/** The same release under another number; `spoil` makes its resident process end as soon as it is started. */
export const releaseAs = (release: string, out: string, version: string, spoil: boolean): void => {
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

/** JSON is YAML, too. */
export const writeConfig = (root: string, name: string, config: object): string => {
  const path = join(root, name);
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
  return path;
};

export interface SitePlatform {
  readonly platform: PlatformProcess;
  /** A release of the agent, built of the sources. */
  readonly release: string;
  readonly key: string;
  readonly publicKey: string;
  /** Of its site `berlin`. */
  readonly server: string;
}

/** A platform with a site and three people in the folder `root`, and a release of the agent for hosts beside it. */
export const startSitePlatform = async (root: string, more: object = {}): Promise<SitePlatform> => {
  const release = join(root, "release");
  const keys = keyPair(root);
  const port = await freePort();
  for (const [name, token] of Object.entries(TOKENS)) writeFileSync(join(root, `${name}.token`), token);
  const user = (name: Person, roles: string[]) => ({ name, roles, token: { file: join(root, `${name}.token`) } });
  const config = writeConfig(root, "homeostat.yaml", {
    data_dir: join(root, "data"),
    http: { port: 0 },
    site: { name: "berlin", listen: { host: "127.0.0.1", port }, advertise: [`127.0.0.1:${port}`] },
    users: [user("olga", ["operator", "shell"]), user("ada", ["approver"]), user("root", ["admin", "operator"])],
    trust: { plugin_keys: [keys.publicKey] },
    ...more,
  });
  const platform = runHomeostat(["start", "--config", config], join(root, "data"));
  const [built] = await Promise.all([agentCli(["build", "--out", release]), platform.ready()]);
  if (built.code !== 0) throw new Error(`no release could be built: ${built.err}`);
  return { platform, release, ...keys, server: `127.0.0.1:${port}` };
};
