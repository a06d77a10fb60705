import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { AgentSurface } from "../agent-part.ts";
import { quietLog } from "../quiet-log.fixture.ts";
import { createSelfPart } from "./self-part.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "agent-self-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test("the file that `status` reads tells of the channel as soon as it has changed", () => {
  const series = { record: () => undefined };
  const channel = { isSealed: false, state: "down", reconnects: 0, clockSkewMs: null, problems: () => [] };
  let atMs = 0;
  const surface = {
    sink: { gauge: () => series, counter: () => series },
    collectors: { slowBy: () => undefined },
    spool: { slowdown: 1, problem: null, nextSequence: 1 },
    log: quietLog,
    monotonicMs: () => atMs,
  } as unknown as AgentSurface;
  const statusFile = join(dir, "status.json");
  const part = createSelfPart({
    surface,
    limits: { cpu_percent: 5, memory_bytes: 1e9 },
    channel,
    heartbeat: () => ({ problems: [] }) as never,
    statusFile,
    healthyFile: join(dir, "healthy"),
    restart: () => undefined,
  });
  const told = (): string => {
    atMs += 1_000;
    part.collector?.collect(1_700_000_000_000 + atMs);
    return JSON.parse(readFileSync(statusFile, "utf8")).channel;
  };
  expect(told()).toBe("down");
  Object.assign(channel, { isSealed: true, state: "sealed" });
  expect(told()).toBe("sealed");
  Object.assign(channel, { isSealed: false, state: "down" });
  expect(told()).toBe("down");
});
