/**
 * The embedded store's process: the ClickHouse engine as a library, serving its own HTTP interface until its terminal closes.
 * It is a process of its own because the engine's threads, memory and crashes shall not be the platform's.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { DataType, load, open } from "ffi-rs";
import { confine } from "./confine.ts";

export interface EngineOrder {
  readonly libraryPath: string;
  readonly engineArguments: readonly string[];
  /** The only directories that the engine may write to, and some of the few that it may read. */
  readonly dirs: readonly string[];
}

/** What the child says once, before the engine runs. */
export interface EngineNotice {
  readonly isConfined: boolean;
}

/** fcntl.h and sys/mman.h of Linux, the same on x64 and arm64. */
const O_RDWR = 2;
const O_NOCTTY = 0o400;
const MADV_DONTNEED = 4;

/** A clean end waits for clients that keep their sockets open; after this long it ends all the same (every acknowledged row is on disk). */
const STOP_S_MAX = 8;
const ORPHAN_S_MAX = 1;
const TRIM_INTERVAL_MS = 60_000;
const TRIM_FIRST_MS = 3000;

/** What the engine looks up about itself and the machine; other processes' environments are not among it. */
const READABLE = [
  `/proc/${process.pid}`,
  "/proc/sys",
  "/proc/cpuinfo",
  "/proc/meminfo",
  "/proc/stat",
  "/proc/loadavg",
  "/proc/uptime",
  "/sys",
];

const callC = (funcName: string, paramsType: DataType[], paramsValue: unknown[]): number =>
  load({ library: "c", funcName, retType: DataType.I32, paramsType, paramsValue });

/**
 * The engine ends when its standard input does, and only an interactive session survives a client that disconnects at the wrong
 * moment (ClickHouse issue 115666). So standard input becomes a pseudo-terminal on which nobody ever types. Returns its master.
 */
const openTerminal = (): number => {
  const master = callC("posix_openpt", [DataType.I32], [O_RDWR | O_NOCTTY]);
  callC("grantpt", [DataType.I32], [master]);
  callC("unlockpt", [DataType.I32], [master]);
  const name: string = load({
    library: "c",
    funcName: "ptsname",
    retType: DataType.String,
    paramsType: [DataType.I32],
    paramsValue: [master],
  });
  const terminal = callC("open", [DataType.String, DataType.I32], [name, O_RDWR | O_NOCTTY]);
  if (master < 0 || terminal < 0 || callC("dup2", [DataType.I32, DataType.I32], [terminal, 0]) < 0)
    throw new Error(`no pseudo-terminal could be opened (master ${master}, terminal ${terminal})`);
  return master;
};

const MAPPING = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ [1-9]\d* +\/.*(?:libchdb\.so|\/node)$/;

const readAll = (path: string): string => {
  // Files in /proc have no size, and one read may be short.
  const file = openSync(path, "r");
  const chunks: Buffer[] = [];
  for (let length = 1; length > 0; ) {
    const chunk = Buffer.allocUnsafe(65_536);
    length = readSync(file, chunk);
    chunks.push(chunk.subarray(0, length));
  }
  closeSync(file);
  return Buffer.concat(chunks).toString("latin1");
};

/**
 * Starting touches 200 MB of the program's text that is never used again. It is the page cache's, not ours: unmapping what is
 * clean (file-backed, not writable, nothing copied) gives it back, and the part in use comes back by minor faults.
 * madvise(2): after MADV_DONTNEED a private file mapping is filled from the file again.
 */
const unmapUnusedText = (): void => {
  let range: readonly [bigint, bigint] | null = null;
  for (const line of readAll("/proc/self/smaps").split("\n")) {
    const mapping = MAPPING.exec(line);
    if (mapping !== null) range = [BigInt(`0x${mapping[1]}`), BigInt(`0x${mapping[2]}`)];
    else if (range !== null && line.startsWith("Anonymous:")) {
      const [start, end] = range;
      if (/:\s+0 kB/.test(line))
        callC("madvise", [DataType.BigInt, DataType.BigInt, DataType.I32], [start, end - start, MADV_DONTNEED]);
      range = null;
    }
  }
};

const keepTextSmall = (): void => {
  setTimeout(unmapUnusedText, TRIM_FIRST_MS).unref();
  setInterval(unmapUnusedText, TRIM_INTERVAL_MS).unref();
};

const runEngine = async ({ libraryPath, engineArguments, dirs }: EngineOrder): Promise<void> => {
  open({ library: "chdb", path: libraryPath });
  const isConfined = confine({ writable: dirs, readable: READABLE });
  process.send?.({ isConfined } satisfies EngineNotice);
  await load({
    library: "chdb",
    funcName: "chdb_query_cmdline",
    retType: DataType.External,
    paramsType: [DataType.I32, DataType.StringArray],
    paramsValue: [engineArguments.length, engineArguments],
    runInNewThread: true,
  });
};

open({ library: "c", path: "libc.so.6" });
/** prctl(2): the kernel ends this process when its parent dies, whatever its own threads are at. Acknowledged rows are on disk. */
const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;
callC("prctl", [DataType.I32, DataType.BigInt], [PR_SET_PDEATHSIG, BigInt(SIGKILL)]);
const terminal = openTerminal();

let isStopping = false;
/** alarm(2) ends the process even when its threads do not let it go. */
const stop = (secondsMax: number): void => {
  callC("alarm", [DataType.U32], [secondsMax]);
  if (isStopping) return;
  isStopping = true;
  callC("close", [DataType.I32], [terminal]);
};

process.on("message", (message: EngineOrder | "stop") => {
  if (message === "stop") {
    stop(STOP_S_MAX);
    return;
  }
  keepTextSmall();
  runEngine(message).then(
    () => process.exit(isStopping ? 0 : 1),
    (error: unknown) => {
      process.stderr.write(`${String(error)}\n`);
      process.exit(1);
    },
  );
});
// The parent is gone, however it went.
process.on("disconnect", () => stop(ORPHAN_S_MAX));
// It may have gone while this file was still being loaded, before anybody listened; its order may be waiting all the same.
// Its pid is compared, not looked for as 1: in a container the platform itself may be 1.
if (!process.connected || process.ppid !== Number(process.argv[2])) process.exit(1);
