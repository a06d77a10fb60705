/** For tests: a runner of commands alone. Arguments: dir, public key (PEM file), command file (a line per command), results file. */
import { createPublicKey } from "node:crypto";
import { appendFileSync, readFileSync } from "node:fs";
import { DeclaredCommand } from "../config.ts";
import { quietLog } from "../quiet-log.fixture.ts";
import { confineBy } from "./child-limits.ts";
import { CommandRunner } from "./command-runner.ts";
import { execRun } from "./exec-run.ts";
import { createExecutorRegistry } from "./registry.ts";

const [, , dir = "", key = "", commands = "", results = "", effects = ""] = process.argv;
const runner = new CommandRunner({
  host: "h",
  dir,
  proc: "/proc",
  trustedKeys: [createPublicKey(readFileSync(key))],
  executors: createExecutorRegistry([
    execRun(
      [
        DeclaredCommand.parse({
          name: "effect",
          command: "/bin/sh",
          // The shell here is the program under test, not one that the agent put in between.
          args: ["-c", 'echo "$1" >> "$2"; sleep "$3"', "sh", "{id}", effects, "{seconds}"],
          params: { id: { type: "string" }, seconds: { type: "number" } },
        }),
      ],
      confineBy({ cgroups: null, pidsMax: 100 }),
    ),
  ]),
  policy: () => null,
  publishProgress: () => undefined,
  publishResult: async (result) => appendFileSync(results, `${JSON.stringify(result)}\n`),
  now: Date.now,
  log: quietLog,
});
runner.start();
// Delivered at least once: all of them, at every start.
for (const line of readFileSync(commands, "utf8").split("\n")) if (line !== "") void runner.take(JSON.parse(line));
setInterval(() => undefined, 1000);
