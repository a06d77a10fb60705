/**
 * For tests: a runner of commands that kills itself (kill -9) at the n-th write to its journal, in the middle of it or behind it.
 * Arguments: dir, n, "torn" | "after". Reads `orders.json` there, and appends to `effects` and `results`.
 */
import { createPublicKey } from "node:crypto";
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import type { CommandResult } from "@homeostat/schemas";

const [, , dir = "", deadly = "0", how = "after"] = process.argv;
const die = () => process.kill(process.pid, "SIGKILL");

// Before the journal's module takes hold of them.
const writeSync = fs.writeSync;
let writes = 0;
const isJournal = (fd: number): boolean => fs.readlinkSync(`/proc/self/fd/${fd}`).includes("commands.journal");
const dyingWrite = (fd: number, bytes: Buffer, offset: number, length: number, position: number): number => {
  if (!isJournal(fd) || ++writes !== Number(deadly)) return writeSync(fd, bytes, offset, length, position);
  writeSync(fd, bytes, offset, how === "torn" ? Math.ceil(length / 2) : length, position);
  die();
  return length;
};
Object.assign(fs, { writeSync: dyingWrite });
syncBuiltinESMExports();

const { CommandRunner } = await import("./command-runner.ts");
const { createExecutorRegistry } = await import("./registry.ts");
const { succeeded } = await import("./executor.ts");
const { quietLog } = await import("../quiet-log.fixture.ts");

const orders = JSON.parse(fs.readFileSync(join(dir, "orders.json"), "utf8"));
const left = new Set<string>(orders.ids);
const runner = new CommandRunner({
  host: "h",
  dir,
  proc: "/proc",
  trustedKeys: [createPublicKey(orders.key)],
  executors: createExecutorRegistry([
    {
      name: "count",
      risk: "reversible",
      prepare: () => ({
        target: "one",
        run: async ({ commandId }) => {
          fs.appendFileSync(join(dir, "effects"), `${commandId}\n`);
          return succeeded("done", "out");
        },
      }),
    },
  ]),
  policy: () => null,
  publishProgress: () => undefined,
  publishResult: async (result: CommandResult) => {
    fs.appendFileSync(join(dir, "results"), `${JSON.stringify(result)}\n`);
    left.delete(result.command_id);
    if (left.size === 0) setImmediate(() => void runner.stop(1_000).then(() => process.exit(0)));
  },
  now: Date.now,
  log: quietLog,
});
runner.start();
await Promise.allSettled([...orders.commands.map((each: unknown) => runner.take(each)), runner.cancel(orders.cancel)]);
