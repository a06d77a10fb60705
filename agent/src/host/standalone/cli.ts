import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { AGENT_VERSION } from "../agent-version.ts";
import { EnrolError } from "../enrol.ts";
import { openIdentityFiles } from "../identity-files.ts";
import { enrolHost } from "./enrol-verb.ts";
import { isRelease, releaseFolder } from "./release-folder.ts";
import { residentCommand } from "./resident-command.ts";
import { writeRunFile } from "./run-file.ts";
import { ConfigError, checkConfig, type StandaloneConfig, withKeys } from "./standalone-config.ts";
import { identityFolder } from "./standalone-link.ts";
import { statusText } from "./status-verb.ts";

/** sysexits.h, so that scripts and service managers know them. */
const EXIT = { usage: 64, unavailable: 69, refused: 77, config: 78 } as const;
const DEFAULT_FILE = "/etc/homeostat/agent.yaml";
const CONFIG_BYTES_MAX = 1_048_576;
const SERVER = /^\S+:\d{1,5}$/;

const HELP = `homeostat-agent: watches this host, and does what a trusted control plane asks of it

  homeostat-agent enroll --token TOKEN --server HOST:PORT [--host NAME] [--dir DIR]
      Makes this host's key pair and has its certificate issued. The token comes from "homeostat enroll".
  homeostat-agent run [--config FILE]
      Runs under a supervisor that starts it again and takes bad updates back. For a service manager.
  homeostat-agent check FILE
      Says what is wrong with a configuration, and stops there.
  homeostat-agent status [--config FILE] [--json]
      Whether it runs, which version, and what troubles it.
  homeostat-agent build --out DIR
      Makes a release folder of plain JavaScript from these sources.
  homeostat-agent version

FILE is ${DEFAULT_FILE} where it is left out; a file that is not there counts as an empty one.

Examples
  homeostat-agent enroll --token "$TOKEN" --server site-1.example.com:9444
  homeostat-agent check ./agent.yaml && homeostat-agent run --config ./agent.yaml

Exit codes
  0 done   1 failed   64 wrong usage   69 the server cannot be reached   77 refused   78 wrong configuration
`;

class UsageError extends Error {}

const OPTIONS = {
  config: { type: "string" },
  token: { type: "string" },
  server: { type: "string", multiple: true },
  host: { type: "string" },
  dir: { type: "string" },
  out: { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;
type Flags = ReturnType<typeof parseArgs<{ options: typeof OPTIONS; allowPositionals: true }>>["values"];

export const main = async (args: readonly string[]): Promise<void> => {
  try {
    const { values, positionals } = parse(args);
    const [verb, ...rest] = positionals;
    if (values.help === true || verb === undefined || verb === "help") return void process.stdout.write(HELP);
    const act = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
    if (act === undefined) throw new UsageError(`there is no verb ${verb}; want ${Object.keys(VERBS).join(", ")}`);
    checkTaken(verb, values, rest);
    await act(values, rest);
  } catch (error) {
    fail(error);
  }
};

/** What each verb takes: anything else would be passed over, as `run FILE` in place of `run --config FILE`. */
const TAKES: Readonly<Record<string, readonly (keyof typeof OPTIONS)[]>> = {
  enroll: ["config", "token", "server", "host", "dir"],
  run: ["config"],
  serve: ["config"],
  probe: ["config"],
  build: ["out"],
  status: ["config", "json"],
};

/** @throws UsageError */
const checkTaken = (verb: string, values: Flags, rest: readonly string[]): void => {
  const takes = TAKES[verb] ?? [];
  const stray = verb === "check" ? rest[1] : rest[0];
  if (stray !== undefined) {
    const meant = takes.includes("config") ? ": a configuration is named by --config FILE" : "";
    throw new UsageError(`${verb} does not take ${JSON.stringify(stray)}${meant}`);
  }
  for (const flag of Object.keys(values))
    if (!takes.some((taken) => taken === flag)) throw new UsageError(`${verb} does not take --${flag}`);
};

const parse = (args: readonly string[]) => {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
};

const fail = (error: unknown): void => {
  const text = error instanceof Error ? error.message : String(error);
  process.stderr.write(`homeostat-agent: ${text}\n`);
  if (error instanceof UsageError) process.stderr.write(`"homeostat-agent help" tells how it is used\n`);
  process.exitCode = exitCodeOf(error);
};

const exitCodeOf = (error: unknown): number => {
  if (error instanceof UsageError) return EXIT.usage;
  if (error instanceof ConfigError) return EXIT.config;
  if (!(error instanceof EnrolError)) return 1;
  return error.retryable ? EXIT.unavailable : EXIT.refused;
};

/** A file that nobody named need not be there. */
const readConfig = async (file: string | undefined): Promise<{ config: StandaloneConfig; file: string }> => {
  const path = resolve(file ?? DEFAULT_FILE);
  const text = readText(path, file === undefined);
  const { parseDocument } = await import("yaml");
  const document = parseDocument(text, { prettyErrors: true });
  const [problem] = document.errors;
  if (problem !== undefined) throw new ConfigError(`${path} is not YAML: ${problem.message}`);
  const config = withKeys(checkConfig(document.toJS({ maxAliasCount: 100 }), path), path);
  return { config, file: path };
};

const readText = (path: string, mayBeMissing: boolean): string => {
  try {
    const bytes = readFileSync(path);
    if (bytes.length > CONFIG_BYTES_MAX) throw new ConfigError(`${path} is longer than ${CONFIG_BYTES_MAX} bytes`);
    return bytes.toString("utf8");
  } catch (error) {
    const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
    if (isMissing && mayBeMissing) return "";
    throw error instanceof ConfigError ? error : new ConfigError(`${path} cannot be read: ${String(error)}`);
  }
};

const run = async (flags: Flags): Promise<void> => {
  const { config, file } = await readConfig(flags.config);
  mkdirSync(config.dir, { recursive: true, mode: 0o700 });
  if (openIdentityFiles(identityFolder(config.dir)).read() === null)
    throw new ConfigError(`this host is not enrolled in ${config.dir}: run "homeostat-agent enroll" first`);
  const release = await releaseFolder(config.dir);
  const script = join(release, "bin", "homeostat-agent.sh");
  const trialS = Math.ceil(config.update.healthy_within_ms / 1000);
  const args = [script, process.execPath, release, file, config.dir, String(trialS)];
  become("/bin/sh", ["homeostat-agent-supervisor", ...args]);
};

/** Under the supervisor: checks the configuration with all that this takes, and becomes the small process that stays. */
const serve = async (flags: Flags): Promise<void> => {
  const { config, file } = await readConfig(flags.config);
  mkdirSync(config.dir, { recursive: true, mode: 0o700 });
  if (!isRelease()) throw new UsageError(`"serve" is for the supervisor; want "run"`);
  const path = writeRunFile({ config, configFile: file, version: AGENT_VERSION });
  become(process.execPath, residentCommand("main.js", path));
};

/** For an update: whether this version would run here, while another does. */
const probe = async (flags: Flags): Promise<void> => {
  const { config } = await readConfig(flags.config);
  const { probeRelease } = await import("../update/probe.ts");
  await probeRelease(config);
  process.stdout.write(`${AGENT_VERSION}\n`);
};

/** mallopt(3): one arena, and what has been freed goes back to the system soon. Together some 2.5 MB of resident memory. */
const MALLOC = {
  MALLOC_ARENA_MAX: "1",
  MALLOC_MMAP_THRESHOLD_: "65536",
  MALLOC_TRIM_THRESHOLD_: "65536",
  MALLOC_TOP_PAD_: "16384",
};

const become = (file: string, args: readonly string[]): void => {
  const env = { ...process.env, ...MALLOC };
  if (process.execve === undefined) throw new Error("this system cannot replace a process by another (execve)");
  process.execve(file, [...args], env);
};

const build = async (flags: Flags): Promise<void> => {
  if (flags.out === undefined) throw new UsageError("build wants --out DIR");
  const out = resolve(flags.out);
  rmSync(join(out, "lib"), { recursive: true, force: true });
  const { buildRelease } = await import("./build.ts");
  process.stdout.write(`${AGENT_VERSION} ${buildRelease(out, AGENT_VERSION)}\n`);
};

const enroll = async (flags: Flags): Promise<void> => {
  const { token, server: servers = [] } = flags;
  if (token === undefined || servers.length === 0) throw new UsageError("enroll wants --token and --server");
  for (const server of servers)
    if (!SERVER.test(server)) throw new UsageError(`--server ${JSON.stringify(server)}: want HOST:PORT`);
  const { config } = await readConfig(flags.config);
  const dir = resolve(flags.dir ?? config.dir);
  const host = flags.host ?? config.agent.host;
  process.stdout.write(`${await enrolHost({ token, servers, dir, host })}\n`);
};

const VERBS: Readonly<Record<string, (flags: Flags, rest: readonly string[]) => Promise<void> | void>> = {
  enroll,
  run,
  serve,
  probe,
  build,
  async check(_flags, [file]) {
    if (file === undefined) throw new UsageError("check wants a file");
    await readConfig(file);
    process.stdout.write(`${file} is fine\n`);
  },
  async status(flags) {
    const { config } = await readConfig(flags.config);
    const { text, isWell } = statusText(config.dir, flags.json === true);
    process.stdout.write(text);
    if (!isWell) process.exitCode = 1;
  },
  version() {
    process.stdout.write(`${AGENT_VERSION}\n`);
  },
};
