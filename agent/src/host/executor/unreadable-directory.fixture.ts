/**
 * For tests: a journal that is written anew while its directory cannot be opened to be synced, and then can be. Tells what became of each
 * command. Argument: the directory.
 */
import { chmodSync, chownSync } from "node:fs";
import { quietLog } from "../quiet-log.fixture.ts";
import { resultOf } from "./command-result.ts";
import { FileJournal } from "./file-journal.ts";
import type { DoneEntry } from "./journal.ts";

const [, , dir = ""] = process.argv;
const outcomes: Record<string, "written" | "refused"> = {};
const done = (id: string, stdout: string): DoneEntry => ({
  state: "done",
  not_after_unix_ms: 60_000,
  result: resultOf({ commandId: id, host: "h", executor: "count" }, "succeeded", { stdout }),
  is_reported: false,
});
const write = async (id: string, stdout = ""): Promise<void> => {
  try {
    await journal.write(id, done(id, stdout));
    outcomes[id] = "written";
  } catch {
    outcomes[id] = "refused";
  }
};

const NOBODY = 65_534;
// Root may read everything.
if (process.getuid?.() === 0) {
  chownSync(dir, NOBODY, NOBODY);
  process.seteuid?.(NOBODY);
}
const journal = FileJournal.open({ dir, log: quietLog, nowUnixMs: 0 });
await write("before");
chmodSync(dir, 0o300);
// More than the file may grow to: it is written anew behind the next batch, and what came while that was on its way waits.
for (let index = 0; index < 12; index++) journal.note("big", done("big", String(index % 10).repeat(400_000)));
const grown = write("grown");
for (let turns = 0; turns < 3; turns++) await null;
await Promise.all([grown, write("beside")]);
await write("meanwhile");
chmodSync(dir, 0o700);
await write("after");
const known = journal.entries().map(([id]) => id);
await journal.close();
process.stdout.write(JSON.stringify({ outcomes, known }));
