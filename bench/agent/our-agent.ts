import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { begin, type Started } from "./peers.ts";

const CLI = join(import.meta.dirname, "..", "..", "agent", "bin", "homeostat-agent.mjs");
const PLATFORM = join(import.meta.dirname, "platform-process.ts");
const READY_MS_MAX = 60_000;

export interface Platform {
  readonly server: string;
  readonly token: string;
  stop(): void;
}

/** Bus, control and site server in another process. */
export const startPlatform = async (dir: string): Promise<Platform> => {
  const child = spawn(process.execPath, [PLATFORM, dir], { stdio: ["ignore", "pipe", "inherit"] });
  const line = await new Promise<string>((resolve, reject) => {
    let text = "";
    child.stdout.on("data", (bytes: Buffer) => {
      text += bytes.toString();
      if (text.includes("\n")) resolve(text);
    });
    child.once("exit", (code) => reject(new Error(`the platform ended with ${code}`)));
  });
  const { server, token } = JSON.parse(line) as { server: string; token: string };
  return { server, token, stop: () => child.kill("SIGTERM") };
};

/** JSON is YAML. */
const configOf = (dir: string): string =>
  JSON.stringify({
    dir: join(dir, "agent"),
    agent: {
      host: "bench",
      interval_ms: 1_000,
      processes: [{ name: "node", match: "node" }],
      logs: [{ path: join(dir, "logs", "*.log"), service: "bench" }],
      paths: [{ name: "logs", path: join(dir, "logs"), limit_bytes: 1_073_741_824 }],
      commands: [{ name: "true", command: "/bin/true" }],
    },
  });

/** Built, enrolled, and under its supervisor; resolves when its channel is sealed. */
export const startAgent = async (dir: string, { server, token }: Platform): Promise<Started> => {
  mkdirSync(join(dir, "logs"), { recursive: true });
  const config = join(dir, "agent.yaml");
  writeFileSync(config, configOf(dir));
  const cli = [CLI, "--config", config];
  execFileSync(process.execPath, [CLI, "enroll", "--config", config, "--token", token, "--server", server]);
  const started = begin(process.execPath, [CLI, "run", "--config", config]);
  const deadlineMs = performance.now() + READY_MS_MAX;
  while (!isSealed(cli)) {
    if (performance.now() > deadlineMs) throw new Error("the agent did not seal its channel");
    await delay(500);
  }
  return started;
};

const isSealed = ([cli = "", ...args]: readonly string[]): boolean => {
  try {
    const text = execFileSync(process.execPath, [cli, "status", "--json", ...args], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    return (JSON.parse(text.toString()) as { channel?: string }).channel === "sealed";
  } catch {
    // status exits with 1 until it is well.
    return false;
  }
};
