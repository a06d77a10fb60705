import { type ChildProcess, fork } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Log } from "@homeostat/schemas";
import type { EngineNotice, EngineOrder } from "./child.ts";
import { EmbeddedStoreError } from "./embedded-store-error.ts";
import { APP_USER, renderEngineConfiguration, renderEngineUsers } from "./engine-configuration.ts";
import { engineLibraryPath } from "./engine-library.ts";

export interface EmbeddedStoreOptions {
  /** Holds the engine's data and this run's configuration; one process at a time. */
  readonly dir: string;
  /** A directory on a second disk for rows that grow old (`analytics.cold`). Once parts are in it, the store does not start without it. */
  readonly coldDir?: string;
  readonly log: Log;
  /** What the engine may allocate; beyond it a query fails with code 241. Its program text (file-backed) comes on top. */
  readonly memoryBytesMax?: number;
  /** How long to wait for a directory that another process holds: a child whose parent was killed gives it up soon. */
  readonly lockWaitMsMax?: number;
}

export interface EmbeddedStoreExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** True when `stop` asked for it. */
  readonly wasAsked: boolean;
  /** The last lines that the engine wrote. */
  readonly lastWords: string;
}

export interface EmbeddedStore {
  readonly url: string;
  readonly username: string;
  readonly password: string;
  readonly pid: number;
  /** Whether the kernel keeps the engine to its directory (Landlock, Linux 6.2); without it only the user's grants do. */
  readonly isConfined: boolean;
  /** Resolves when the process has ended, for whatever reason. */
  readonly exited: Promise<EmbeddedStoreExit>;
  /** Close clients first: the engine waits some seconds for open sockets. Resolves when the process has ended. */
  stop(): Promise<void>;
}

interface RunFiles {
  readonly dataDir: string;
  readonly configurationPath: string;
  readonly usersPath: string;
  readonly portPath: string;
}

const MEMORY_BYTES_DEFAULT = 536_870_912;
const READY_MS_MAX = 60_000;
const READY_POLL_MS = 15;
const LOCK_WAIT_MS_DEFAULT = 8000;
const LOCK_RETRY_MS = 250;
const STOP_MS_MAX = 10_000;
const LAST_WORDS_MAX = 4000;
const EXCEPTION = /^Received exception/m;
const LOCKED = /Cannot lock file|Another server instance/i;
/** Lines of the engine's own log; the stack traces between them name no symbols. Failed queries reach their client as errors. */
const ENGINE_LINE =
  /^\d{4}\.\d\d\.\d\d [\d:.]+ \[ \d+ \] \{.*?\} <(?:Error|Fatal|Critical)> (?!executeQuery|DynamicQueryHandler)/;

const basicAuthorization = (password: string): string =>
  `Basic ${Buffer.from(`${APP_USER}:${password}`).toString("base64")}`;

const writeRunFiles = async (options: EmbeddedStoreOptions, password: string): Promise<RunFiles> => {
  const { dir, coldDir, memoryBytesMax = MEMORY_BYTES_DEFAULT } = options;
  const dataDir = path.join(dir, "data");
  const runDir = path.join(dir, "run");
  await rm(runDir, { recursive: true, force: true });
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await mkdir(runDir, { recursive: true, mode: 0o700 });
  if (coldDir !== undefined) await mkdir(coldDir, { recursive: true, mode: 0o700 });
  const usersPath = path.join(runDir, "users.xml");
  const configurationPath = path.join(runDir, "config.xml");
  const passwordSha256 = createHash("sha256").update(password).digest("hex");
  await writeFile(usersPath, renderEngineUsers({ passwordSha256, memoryBytesMax }), { mode: 0o600 });
  const userFilesPath = path.join(dataDir, "user_files", "/");
  const temporaryPath = path.join(dataDir, "tmp", "/");
  await writeFile(
    configurationPath,
    renderEngineConfiguration({
      authorization: basicAuthorization(password),
      usersPath,
      userFilesPath,
      temporaryPath,
      memoryBytesMax,
      coldPath: coldDir === undefined ? null : path.join(coldDir, "/"),
    }),
    { mode: 0o600 },
  );
  // Only a file of this run's own random name is trusted to tell the port.
  return {
    dataDir,
    configurationPath,
    usersPath,
    portPath: path.join(runDir, `port-${randomBytes(8).toString("hex")}`),
  };
};

const engineArguments = (files: RunFiles): readonly string[] => [
  "clickhouse",
  `--path=${files.dataDir}`,
  `--config-file=${files.configurationPath}`,
  "--listen_host=127.0.0.1",
  "--http_port=0",
  "--implicit_select=0",
  "--log-level=error",
  "--interactive",
  "--disable_suggestion",
  "--history_file=/dev/null",
  `--query=SYSTEM START LISTEN HTTP; SELECT getServerPort('http_port') INTO OUTFILE '${files.portPath.replace(/[\\']/g, "\\$&")}' FORMAT TSV`,
];

const launch = (order: EngineOrder): ChildProcess => {
  const child = fork(new URL("./child.ts", import.meta.url), [String(process.pid)], {
    execArgv: [
      "--max-old-space-size=64",
      "--max-semi-space-size=1",
      "--v8-pool-size=1",
      "--disable-warning=ExperimentalWarning",
    ],
    // What the session prints goes nowhere; a pipe that nobody reads would fill up and stop it.
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    // A session of its own: Ctrl-C in the terminal is for the platform, which then stops its store in order.
    detached: true,
    env: { TZ: "UTC" },
  });
  child.send(order);
  return child;
};

interface Watched {
  readonly exited: Promise<EmbeddedStoreExit>;
  isConfined(): boolean;
  lastWords(): string;
  stop(): Promise<void>;
}

const watch = (child: ChildProcess, log: Log): Watched => {
  let lastWords = "";
  let wasAsked = false;
  let isConfined = false;
  child.once("message", (notice: EngineNotice) => {
    isConfined = notice.isConfined;
  });
  child.stderr?.setEncoding("utf8");
  child.stderr?.on("data", (text: string) => {
    lastWords = (lastWords + text).slice(-LAST_WORDS_MAX);
    for (const line of text.split("\n"))
      if (ENGINE_LINE.test(line)) log.warn({ engine: line.slice(0, 1000) }, "the store's engine reports an error");
  });
  const exited = new Promise<EmbeddedStoreExit>((resolve) => {
    child.once("error", (error) => resolve({ code: null, signal: null, wasAsked, lastWords: error.message }));
    child.once("close", (code, signal) => resolve({ code, signal, wasAsked, lastWords: lastWords.trim() }));
  });
  const stop = async (): Promise<void> => {
    wasAsked = true;
    if (child.connected) child.send("stop");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
    await exited;
    clearTimeout(timer);
  };
  return { exited, isConfined: () => isConfined, lastWords: () => lastWords, stop };
};

/** The port; null when the engine ended, failed to listen (it lives on then, being interactive) or took too long. */
const waitForPort = async (portPath: string, watched: Watched): Promise<number | null> => {
  let hasEnded = false;
  watched.exited.then(() => {
    hasEnded = true;
  });
  for (const deadline = performance.now() + READY_MS_MAX; performance.now() < deadline; await delay(READY_POLL_MS)) {
    const text = await readFile(portPath, "utf8").catch(() => "");
    if (/^\d+\n$/.test(text)) return Number(text);
    if (hasEnded || EXCEPTION.test(watched.lastWords())) return null;
  }
  return null;
};

const whyNotReady = (dir: string, exit: EmbeddedStoreExit): EmbeddedStoreError => {
  if (LOCKED.test(exit.lastWords))
    return new EmbeddedStoreError("directory_locked", `another process uses the store's directory ${dir}`);
  const ending = exit.signal ?? `code ${exit.code}`;
  return new EmbeddedStoreError("start_failed", `the embedded store did not start (${ending}): ${exit.lastWords}`);
};

const attempt = async (options: EmbeddedStoreOptions, libraryPath: string): Promise<EmbeddedStore> => {
  const password = randomBytes(24).toString("base64url");
  const files = await writeRunFiles(options, password);
  const dirs = options.coldDir === undefined ? [options.dir] : [options.dir, options.coldDir];
  const child = launch({ libraryPath, engineArguments: engineArguments(files), dirs });
  const watched = watch(child, options.log);
  const port = await waitForPort(files.portPath, watched);
  if (port === null) {
    await watched.stop();
    throw whyNotReady(options.dir, await watched.exited);
  }
  const { exited, stop } = watched;
  if (!watched.isConfined())
    options.log.info({}, "the kernel has no Landlock: the store's engine is fenced by its grants only");
  return {
    url: `http://127.0.0.1:${port}`,
    username: APP_USER,
    password,
    pid: child.pid ?? 0,
    isConfined: watched.isConfined(),
    exited,
    stop,
  };
};

const absolute = ({ dir, coldDir, ...options }: EmbeddedStoreOptions): EmbeddedStoreOptions => ({
  ...options,
  dir: path.resolve(dir),
  ...(coldDir !== undefined && { coldDir: path.resolve(coldDir) }),
});

/** Starts ClickHouse from npm in a child process and resolves when it answers. Throws EmbeddedStoreError. */
export const startEmbeddedStore = async (options: EmbeddedStoreOptions): Promise<EmbeddedStore> => {
  const libraryPath = engineLibraryPath();
  for (
    const deadline = performance.now() + (options.lockWaitMsMax ?? LOCK_WAIT_MS_DEFAULT);
    ;
    await delay(LOCK_RETRY_MS)
  ) {
    try {
      return await attempt(absolute(options), libraryPath);
    } catch (error) {
      const isLocked = error instanceof EmbeddedStoreError && error.code === "directory_locked";
      if (!isLocked || performance.now() >= deadline) throw error;
    }
  }
};
