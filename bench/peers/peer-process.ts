import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** A program of another make, running beside ours. */
export interface Peer {
  readonly name: string;
  /** As the program itself tells it. */
  readonly version: string;
  readonly pid: number;
  readonly url: string;
  /** Resolves when it has ended. */
  stop(): Promise<void>;
}

export interface PeerCommand {
  readonly name: string;
  readonly binary: string;
  readonly args: (port: number) => readonly string[];
  /** Answers 200 once it is ready. */
  readonly readyPath: string;
}

const READY_MS_MAX = 30_000;
const POLL_MS = 50;
const STOP_MS_MAX = 10_000;

/** Where the shell finds the program, or null when it is not installed. */
export const findBinary = (name: string): string | null => {
  const { status, stdout } = spawnSync("sh", ["-c", 'command -v "$1"', "sh", name], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : null;
};

export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });

let ticksPerSecond = 0;

/** Processor time of a process and its threads since it began, user and system (Linux). */
export const cpuSeconds = (pid: number): number => {
  if (ticksPerSecond === 0) ticksPerSecond = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The program's name may hold blanks and parentheses: fields are counted behind its last one (proc_pid_stat(5): 14 utime, 15 stime).
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
};

/** null when the program is not installed. @throws when it does not become ready. */
export const startPeer = async ({ name, binary, args, readyPath }: PeerCommand): Promise<Peer | null> => {
  const path = findBinary(binary);
  if (path === null) return null;
  const port = await freePort();
  const child = spawn(path, args(port), { stdio: ["ignore", "ignore", "pipe"] });
  const said = lastWords(child);
  const url = `http://127.0.0.1:${port}`;
  try {
    await ready(child, `${url}${readyPath}`);
  } catch (cause) {
    await end(child);
    throw new Error(`${name} did not become ready: ${said()}`, { cause });
  }
  return { name, version: versionOf(path), pid: child.pid ?? 0, url, stop: () => end(child) };
};

const versionOf = (path: string): string => {
  try {
    const text = execFileSync(path, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    return text.split("\n")[0]?.slice(0, 200) ?? "";
  } catch (error) {
    return `unknown (${error instanceof Error ? error.message.slice(0, 80) : "no answer"})`;
  }
};

const lastWords = (child: ChildProcess): (() => string) => {
  let words = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    words = (words + text).slice(-2000);
  });
  return () => words;
};

const ready = async (child: ChildProcess, url: string): Promise<void> => {
  const deadline = performance.now() + READY_MS_MAX;
  while (performance.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
    if (await answers(url)) return;
    await delay(POLL_MS);
  }
  throw new Error(`no answer within ${READY_MS_MAX} ms`);
};

const answers = async (url: string): Promise<boolean> => {
  try {
    return (await fetch(url)).ok;
  } catch (error) {
    // Until it listens the connection is refused, which fetch tells as a TypeError.
    if (error instanceof TypeError) return false;
    throw error;
  }
};

const end = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
  await ended;
  clearTimeout(timer);
};
