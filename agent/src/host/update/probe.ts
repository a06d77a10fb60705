import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { AGENT_VERSION } from "../agent-version.ts";
import { residentCommand } from "../standalone/resident-command.ts";
import { writeRunFile } from "../standalone/run-file.ts";
import type { StandaloneConfig } from "../standalone/standalone-config.ts";

const SELF_TEST_MS = 30_000;

/**
 * Whether this version would run here: its resident part loads, its collectors measure, its spool takes, and one of the servers believes it.
 * It works in a folder of its own and sends nothing.
 * @throws Error that says what does not
 */
export const probeRelease = async (config: StandaloneConfig): Promise<void> => {
  const scratch = await mkdtemp(join(config.dir, "probe-"));
  try {
    const run = writeRunFile({ config: { ...config, dir: scratch }, configFile: config.dir, version: AGENT_VERSION });
    const [, ...args] = residentCommand("self-test.js", run, config.dir);
    const tested = spawnSync(process.execPath, args, {
      timeout: SELF_TEST_MS,
      encoding: "utf8",
      killSignal: "SIGKILL",
    });
    if (tested.status === 0) return;
    const why = tested.error?.message ?? tested.stderr.trim().split("\n").at(-1) ?? "";
    throw new Error(`the self-test ended with ${tested.status ?? tested.signal}: ${why.slice(0, 400)}`);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
};
