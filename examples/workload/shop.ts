/**
 * A small service that works for real: it takes orders, asks a stock server for each, writes a log, and dumps its state when told to.
 * The drills run it as a supervised service; it knows nothing of them.
 *
 *   node examples/workload/shop.ts --dir DIR --port PORT
 *
 * DIR/stock-address   host:port of the stock server, read once at start (as many real programs resolve a name once)
 * DIR/shop.log        one line an order
 * DIR/dumps/          state dumps: POST /dump?files=N&bytes=N writes them, ten a second
 */
import { appendFileSync, createWriteStream, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { parseArgs } from "node:util";

const ORDERS_PER_SECOND = 20;
const DUMPS_PER_SECOND = 10;

const { values } = parseArgs({ options: { dir: { type: "string" }, port: { type: "string" } } });
const dir = values.dir;
const port = Number(values.port);
if (dir === undefined || !Number.isInteger(port)) throw new Error("usage: shop.ts --dir DIR --port PORT");

const log = createWriteStream(join(dir, "shop.log"), { flags: "a" });
const say = (level: string, text: string): void => {
  log.write(`${new Date().toISOString()} ${level} ${text}\n`);
};

const stockAddress = readFileSync(join(dir, "stock-address"), "utf8").trim();
say("INFO", `shop starts, pid ${process.pid}, stock at ${stockAddress}`);

const firstOrder = Math.floor(Date.now() / 1000) % 1_000_000;
let orders = 0;
let failed = 0;
const takeOrder = async (): Promise<void> => {
  orders += 1;
  const order = firstOrder + orders;
  const started = performance.now();
  try {
    const response = await fetch(`http://${stockAddress}/reserve?order=${order}`, {
      signal: AbortSignal.timeout(2000),
    });
    await response.arrayBuffer();
    say("INFO", `order ${order} reserved in ${(performance.now() - started).toFixed(1)} ms, status ${response.status}`);
  } catch (error) {
    failed += 1;
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    say("ERROR", `order ${order} failed: stock server unreachable: ${cause}`);
  }
};
setInterval(() => void takeOrder(), 1000 / ORDERS_PER_SECOND);

const dumps = join(dir, "dumps");
mkdirSync(dumps, { recursive: true });
const dump = (files: number, bytes: number): void => {
  let written = 0;
  const timer = setInterval(() => {
    if (written === files) return clearInterval(timer);
    written += 1;
    const path = join(dumps, `dump-${Date.now()}-${written}.bin`);
    writeFileSync(path, Buffer.alloc(bytes, written));
    say("INFO", `state dumped to ${path}, ${bytes} bytes`);
  }, 1000 / DUMPS_PER_SECOND);
};

createServer((request, response) => {
  const url = new URL(request.url ?? "/", "http://shop");
  if (request.method === "POST" && url.pathname === "/dump")
    dump(Number(url.searchParams.get("files")), Number(url.searchParams.get("bytes")));
  response.end(JSON.stringify({ pid: process.pid, orders, failed }));
}).listen(port, "127.0.0.1", () => say("INFO", `shop listens on port ${port}`));

process.on("uncaughtException", (error) => {
  appendFileSync(join(dir, "shop.log"), `${new Date().toISOString()} FATAL ${error.message}\n`);
  process.exit(1);
});
