import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const HOMEOSTAT = fileURLToPath(new URL("../../app/bin/homeostat.mjs", import.meta.url));

/** The platform as a user runs it: a process of its own with a configuration file. */
export interface PlatformProcess {
  readonly child: ChildProcess;
  /** All that it has written. */
  output(): string;
  /** Resolves at the last line of what a start says; rejects when the process ends before. */
  ready(): Promise<void>;
  /** The exit code, or the signal's name. */
  ended(): Promise<number | string>;
  api(path: string, init?: RequestInit): Promise<Response>;
}

export const runHomeostat = (args: readonly string[], dataDir = ""): PlatformProcess => {
  const child = spawn(process.execPath, [HOMEOSTAT, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  const isReady = Promise.withResolvers<void>();
  const hasEnded = new Promise<number | string>((resolve) =>
    child.once("close", (code, signal) => {
      isReady.reject(new Error(`ended with ${code ?? signal} before it was ready:\n${text}`));
      resolve(code ?? signal ?? "unknown");
    }),
  );
  isReady.promise.catch(() => undefined);
  const listen = (chunk: Buffer): void => {
    text += chunk.toString("utf8");
    if (text.includes("Ctrl-C stops it")) isReady.resolve();
  };
  child.stdout.on("data", listen);
  child.stderr.on("data", listen);
  return {
    child,
    output: () => text,
    ready: () => isReady.promise,
    ended: () => hasEnded,
    api: (path, init) => {
      const { url } = JSON.parse(readFileSync(join(dataDir, "platform.json"), "utf8"));
      return fetch(new URL(path, url), init);
    },
  };
};
