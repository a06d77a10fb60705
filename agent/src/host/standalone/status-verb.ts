import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Heartbeat } from "@homeostat/schemas";

/** Written by the agent with every heartbeat. */
export const STATUS_FILE = "status.json";
export interface StatusFile {
  readonly pid: number;
  readonly channel: string;
  readonly rss_bytes: number;
  readonly heartbeat: Heartbeat;
}

/** For people, or as JSON; well when it runs and nothing troubles it. */
export const statusText = (dir: string, isJson: boolean): { text: string; isWell: boolean } => {
  const status = readStatus(dir);
  if (status === null)
    return { text: isJson ? '{"running":false}\n' : `no agent has run with ${dir}\n`, isWell: false };
  const isRunning = isAlive(status.pid);
  const { heartbeat } = status;
  const isWell = isRunning && heartbeat.problems.length === 0;
  if (isJson) return { text: `${JSON.stringify({ running: isRunning, ...status })}\n`, isWell };
  const lines = [
    `host      ${heartbeat.host}`,
    `running   ${isRunning ? `yes, pid ${status.pid}` : "no"}`,
    `version   ${heartbeat.agent_version}`,
    `state     ${heartbeat.state}`,
    `channel   ${status.channel}`,
    `memory    ${(status.rss_bytes / 1_048_576).toFixed(1)} MB`,
    `spool     ${heartbeat.spool_bytes} bytes, ${heartbeat.ledger.spooled} records wait`,
    `told at   ${new Date(heartbeat.at_unix_ms).toISOString()}`,
    ...heartbeat.problems.map((problem) => `problem   ${problem}`),
  ];
  return { text: `${lines.join("\n")}\n`, isWell };
};

const readStatus = (dir: string): StatusFile | null => {
  try {
    return JSON.parse(readFileSync(join(dir, STATUS_FILE), "utf8")) as StatusFile;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
};

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // Another user's is alive as well.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
};
