/**
 * A process that is alone in a control group of its own, as a service with `Delegate=yes` is, or beside its supervisor, and runs commands in
 * groups below it. Argument: a directory of a group to be made and entered; otherwise it stays where it is. Says one line of JSON for each
 * command: {"name", "state", "message", "stdout"}, then how many of their groups are left.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Log, ResourceLimits } from "@homeostat/schemas";
import { openCgroups } from "./cgroup.ts";
import { confineBy } from "./child-limits.ts";
import { runProcess } from "./process-group.ts";

const ROOT = "/sys/fs/cgroup";
const tell = (fields: object, message: string) => process.stderr.write(`${message}: ${JSON.stringify(fields)}\n`);
const log: Log = { debug: () => undefined, info: tell, warn: tell, error: tell };

const [group = ""] = process.argv.slice(2);
if (group.startsWith(ROOT)) {
  mkdirSync(group);
  writeFileSync(join(group, "cgroup.procs"), String(process.pid));
}
const cgroups = openCgroups({ root: ROOT, proc: "/proc", pid: process.pid, log });
if (cgroups === null) throw new Error("no control groups");
const confine = confineBy({ cgroups, pidsMax: 20 });

const run = async (name: string, script: string, limits: ResourceLimits): Promise<void> => {
  const outcome = await runProcess(
    { command: "/bin/sh", args: ["-c", script] },
    {
      commandId: name,
      requestedBy: "somebody",
      signal: AbortSignal.timeout(20_000),
      timeoutMs: 20_000,
      outputBytesMax: 1_000,
      limits,
      mark: { name: "MARK", value: name },
      noteChild: () => undefined,
      output: () => null,
      input: { onData: () => undefined, onResize: () => undefined },
    },
    confine,
  );
  const { state, message, stdout } = outcome;
  process.stdout.write(`${JSON.stringify({ name, state, message, stdout })}\n`);
};

await run("modest", "echo hello", { memory_bytes: 33_554_432 });
await run("memory", "exec tail /dev/zero", { memory_bytes: 33_554_432 });
await run("processes", "for i in $(seq 100); do sleep 20 & done; wait", {});
const held =
  'grep -q "^nr_throttled [1-9]" "/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)/cpu.stat" && echo held';
await run("cpu", `timeout 1 sh -c 'while :; do :; done'; ${held}`, { cpu_percent: 20 });
// It outlives its command, in a session of its own.
await run("daemon", "setsid sleep 1000 & sleep 0.2", {});
const own = readFileSync("/proc/self/cgroup", "utf8").trim().slice("0::".length);
const left = (): number =>
  readdirSync(join(ROOT, dirname(own), "homeostat-commands"), { withFileTypes: true }).filter((one) =>
    one.isDirectory(),
  ).length;
for (let tries = 0; left() > 0 && tries < 100; tries += 1) await delay(20);
process.stdout.write(`${JSON.stringify({ left: left() })}\n`);
