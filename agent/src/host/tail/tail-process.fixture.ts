/** For tests: an agent reduced to tail, spool and publisher, whose platform is a file. Arguments: dir, pattern, output file. */
import { openSync, writeSync } from "node:fs";
import { decodeBatch, decodeHeader } from "@homeostat/schemas";
import type { Link } from "../link.ts";
import { Publisher } from "../publisher.ts";
import { quietLog } from "../quiet-log.fixture.ts";
import { Spool } from "../spool/spool.ts";
import { Tail } from "./tail.ts";

const [, , dir = "", pattern = "", output = ""] = process.argv;
const out = openSync(output, "a");
const link: Pick<Link, "publish"> = {
  async publish(batches) {
    const records = batches.map(({ value }) => {
      const { producer, sequence } = decodeHeader(value);
      const batch = decodeBatch(value);
      if (batch.schema !== "logs") throw new Error("not logs");
      const body = batch.column("body");
      const lines = Array.from({ length: batch.rowCount }, (_, row) => String(body.at(row)));
      return `${JSON.stringify({ producer, sequence, lines })}\n`;
    });
    writeSync(out, `\n${records.join("")}`);
  },
};
const spool = Spool.open({ dir, host: "h", bytesMax: 8_000_000, segmentBytes: 20_000, log: quietLog });
const tail = new Tail({
  sources: [{ path: pattern, service: "s", format: "text", read_from: "beginning" }],
  filesMax: 256,
  host: "h",
  spool,
  log: quietLog,
});
const publisher = new Publisher({ spool, link: link as Link, log: quietLog, random: () => 0 });
publisher.start();
setInterval(() => {
  tail.scan(Date.now());
  tail.read(Date.now());
  tail.flush();
  publisher.wake();
}, 2);
