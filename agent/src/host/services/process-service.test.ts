import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { SupervisedService } from "../config.ts";
import { quietLog } from "../quiet-log.fixture.ts";
import { SupervisedProcess } from "./process-service.ts";

let dir: string;
let begun: SupervisedProcess[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "service-"));
  begun = [];
});
afterEach(() => {
  for (const service of begun) {
    const { pid } = service;
    if (pid !== null) process.kill(-pid, "SIGKILL");
  }
  rmSync(dir, { recursive: true, force: true });
});

/** Programs that begin at once: a service has started, or has not, by what it does in its first half second. */
const SLEEPER = "echo begun $$; exec sleep 1000";
const supervise = (options: Record<string, unknown> = {}) => {
  const config = SupervisedService.parse({
    name: "shop",
    manager: "process",
    command: "/bin/sh",
    args: ["-c", SLEEPER],
    stop_timeout_ms: 300,
    ...options,
  });
  if (config.manager !== "process") throw new Error("not a process");
  const service = new SupervisedProcess({ config, dir, proc: "/proc", log: quietLog });
  begun.push(service);
  return service;
};
const never = new AbortController().signal;
const written = () => readFileSync(join(dir, "services", "shop.log"), "utf8");
const untilDown = async (service: SupervisedProcess) => {
  while (service.isUp()) await delay(5);
};

test("starts a service in a group of its own, with its output in its log", async () => {
  const service = supervise();
  await service.begin();
  expect(service.isUp()).toBe(true);
  const fields = readFileSync(`/proc/${service.pid}/stat`, "utf8").split(") ")[1]?.split(" ");
  expect(fields?.[2]).toBe(String(service.pid));
  await expect.poll(written).toBe(`begun ${service.pid}\n`);
});

test("says that a service which was killed is down, and leaves it down", async () => {
  const service = supervise();
  await service.begin();
  process.kill(service.pid ?? 0, "SIGKILL");
  await untilDown(service);
  await delay(50);
  expect(service.isUp()).toBe(false);
});

test("restarts a service that is up, one that is down, and one that ignores TERM", async () => {
  const service = supervise({ args: ["-c", `trap '' TERM; ${SLEEPER}`] });
  await service.begin();
  const first = service.pid;
  expect(await service.restart(never)).toMatchObject({ state: "succeeded" });
  const second = service.pid;
  process.kill(second ?? 0, "SIGKILL");
  await untilDown(service);
  expect(await service.restart(never)).toMatchObject({ state: "succeeded" });
  expect(new Set([first, second, service.pid]).size).toBe(3);
  expect(service.restarts).toBe(2);
});

test("adopts a service that is still running, and takes no stranger with the same pid for it", async () => {
  const before = supervise();
  await before.begin();
  const after = supervise();
  await after.begin();
  expect(after.pid).toBe(before.pid);

  process.kill(-(before.pid ?? 0), "SIGKILL");
  await untilDown(before);
  const path = join(dir, "services", "shop.pid");
  const record = JSON.parse(readFileSync(path, "utf8"));
  writeFileSync(path, JSON.stringify({ ...record, pid: process.pid, start_ticks: record.start_ticks }));
  const next = supervise({ start_with_agent: false });
  await next.begin();
  expect(next.isUp()).toBe(false);
});

test("does not call down what nobody has wanted up, until it is asked for", async () => {
  const supervised = supervise({ start_with_agent: false });
  await supervised.begin();
  expect(supervised.isUp()).toBeNull();
  expect(await supervised.restart(AbortSignal.timeout(10_000))).toMatchObject({ state: "succeeded" });
  expect(supervised.isUp()).toBe(true);
});

test("finds a service again whose pid the agent had no time to write down", async () => {
  const before = supervise();
  await before.begin();
  const path = join(dir, "services", "shop.pid");
  const record = JSON.parse(readFileSync(path, "utf8"));
  writeFileSync(path, JSON.stringify({ ...record, pid: null, start_ticks: 0 }));
  const after = supervise();
  await after.begin();
  expect(after.pid).toBe(before.pid);
});

test("fails a restart when the new process ends at once, and when there is no such program", async () => {
  const broken = supervise({ args: ["-c", "exit 4"], start_with_agent: false });
  await broken.begin();
  expect(await broken.restart(never)).toMatchObject({
    state: "failed",
    message: expect.stringContaining("exited with 4"),
  });
  const missing = supervise({ name: "missing", command: "/no/such/program", start_with_agent: false });
  await missing.begin();
  expect(await missing.restart(never)).toMatchObject({
    state: "failed",
    message: expect.stringContaining("cannot start"),
  });
});

test("ends what a service leaves behind before it starts it again", async () => {
  const service = supervise({ args: ["-c", "sleep 1000 & echo child $!; wait"] });
  await service.begin();
  await expect.poll(written).toMatch(/child \d+\n/);
  const child = Number(/child (\d+)/.exec(written())?.[1]);
  process.kill(service.pid ?? 0, "SIGKILL");
  await untilDown(service);
  process.kill(child, 0);
  await service.restart(never);
  const isGone = () => {
    try {
      return readFileSync(`/proc/${child}/stat`, "utf8").split(") ")[1]?.startsWith("Z") ?? true;
    } catch {
      return true;
    }
  };
  while (!isGone()) await delay(5);
});
