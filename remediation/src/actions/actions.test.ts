import type { CommandResult } from "@homeostat/schemas";
import { describe, expect, it } from "vitest";
import { isRefusal } from "./action.ts";
import { freeDisk } from "./free-disk.ts";
import { endedOutcome, outcomeOf } from "./outcome.ts";
import { runCommand } from "./run-command.ts";

const context = {
  target: { host: "a", path: "dumps" },
  runId: "r1",
  verification: { facts: [], checks: [], for_ms: 0, timeout_ms: 1 },
};
const facts = (usage: number | null, limit: number | null) => ({
  at_unix_ms: 0,
  values: { "declared path usage": usage, "declared path limit": limit },
});

describe("free_disk", () => {
  it("frees what stands above the utilization that is aimed at", () => {
    const plan = freeDisk.plan({ path: "dumps", to_utilization: 0.7, timeout_ms: 1000 }, facts(950, 1000), context);
    expect(plan).toMatchObject({
      steps: [{ executor: "files.free", args: { path: "dumps", target_bytes: 250 }, idempotency_key: "r1.0" }],
    });
  });

  it("refuses without numbers, and where there is nothing to free", () => {
    const params = { path: "dumps", to_utilization: 0.7, timeout_ms: 1000 };
    for (const [usage, limit] of [
      [null, 1000],
      [950, null],
      [700, 1000],
    ] as const) {
      const plan = freeDisk.plan(params, facts(usage, limit), context);
      expect(isRefusal(plan) && plan.mayPass).toBe(true);
    }
  });
});

describe("run_command", () => {
  it("reverts with the command that is declared for it, under a key of its own", () => {
    const params = { command: "flip", args: { to: "b" }, timeout_ms: 1000, revert: { command: "flop", args: {} } };
    const plan = runCommand.plan(params, facts(null, null), context);
    if (isRefusal(plan)) throw new Error(plan.refused);
    const revert = runCommand.revert(plan, facts(null, null), context);
    expect(revert).toMatchObject({
      steps: [{ executor: "exec.run", args: { name: "flop", args: {} }, idempotency_key: "r1.r0" }],
    });
  });
});

describe("the outcome of a command", () => {
  const result = (state: CommandResult["state"]): CommandResult => ({
    command_id: "c",
    host: "a",
    executor: "service.restart",
    state,
    exit_code: null,
    stdout: "",
    stderr: "one\ntwo\n",
    output_truncated: false,
    started_at_unix_ms: null,
    ended_at_unix_ms: null,
    message: "",
  });

  it.for([
    ["succeeded", "succeeded", false],
    ["failed", "failed", false],
    ["timed_out", "failed", false],
    ["refused", "failed", false],
    ["expired", "failed", true],
    ["lost", "unknown", false],
  ] as const)("%s is %s", ([state, status, retryable]) => {
    expect(endedOutcome(result(state))).toMatchObject({ status, retryable, message: "two" });
  });

  it.for(["queued", "delivered", "accepted", "running"] as const)("%s is none yet", (state) => {
    expect(outcomeOf(result(state))).toBeNull();
  });
});
