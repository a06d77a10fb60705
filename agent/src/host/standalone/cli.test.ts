import { execFile } from "node:child_process";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

const BIN = join(import.meta.dirname, "..", "..", "..", "bin", "homeostat-agent.mjs");
const USAGE = 64;

const called = (...args: string[]): Promise<{ code: unknown; stderr: string }> =>
  new Promise((resolve) =>
    execFile(process.execPath, [BIN, ...args], (error, _, stderr) => resolve({ code: error?.code ?? 0, stderr })),
  );

describe("the agent's command line", () => {
  test.each([
    [["run", "agent.yaml"], 'run does not take "agent.yaml": a configuration is named by --config FILE'],
    [["status", "agent.yaml"], 'status does not take "agent.yaml": a configuration is named by --config FILE'],
    [["check", "agent.yaml", "other.yaml"], 'check does not take "other.yaml"'],
    [["run", "--dir", "elsewhere"], "run does not take --dir"],
    [["version", "--json"], "version does not take --json"],
    [["enroll", "--token", "t", "--server", "site-1"], '--server "site-1": want HOST:PORT'],
  ])("passes over nothing that it is given: %j", async (args, said) => {
    expect(await called(...args)).toEqual({
      code: USAGE,
      stderr: expect.stringContaining(`homeostat-agent: ${said}\n`),
    });
  });

  test("takes what its help names", async () => {
    expect(await called("version")).toEqual({ code: 0, stderr: "" });
    expect(await called("help")).toEqual({ code: 0, stderr: "" });
    expect((await called("run", "--help")).code).toBe(0);
  });
});
