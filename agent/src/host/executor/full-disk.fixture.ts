/** For tests: fills a journal until the disk takes no more, in batches of three, and tells what became of each. Argument: its directory. */
import { generateKeyPairSync } from "node:crypto";
import { quietLog } from "../quiet-log.fixture.ts";
import { commandBy } from "./command.fixture.ts";
import { FileJournal } from "./file-journal.ts";

// Beyond the limit on a file's size: the write is to fail instead.
process.on("SIGXFSZ", () => undefined);
const [, , dir = ""] = process.argv;
const { privateKey } = generateKeyPairSync("ed25519");
const journal = FileJournal.open({ dir, log: quietLog, nowUnixMs: 0 });
const written: string[] = [];
const refused: string[] = [];
const write = (id: string) =>
  journal
    .write(id, {
      state: "running",
      command: commandBy(privateKey, { command_id: id }),
      started_at_unix_ms: 1,
      child: null,
    })
    .then(
      () => written.push(id),
      () => refused.push(id),
    );
for (let batch = 0; batch < 12; batch++) await Promise.all([0, 1, 2].map((index) => write(`b${batch}-${index}`)));
const known = journal.entries().map(([id]) => id);
await journal.close();
process.stdout.write(JSON.stringify({ written, refused, known }));
