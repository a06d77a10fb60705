import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { type ApiClient, connect } from "../cli/client.ts";

const HOMEOSTAT = fileURLToPath(new URL("../../bin/homeostat.mjs", import.meta.url));
const SHOP = fileURLToPath(new URL("../../../examples/workload/shop.ts", import.meta.url));
export const DUMPS_LIMIT_BYTES = 64 * 1_048_576;
const READY_TIMEOUT_MS = 30_000;

const ShopStatus = z.strictObject({ pid: z.int(), orders: z.int(), failed: z.int() });
export type ShopStatus = z.infer<typeof ShopStatus>;

/** A platform of its own, a shop that it supervises, and the stock server that the shop depends on: all real processes and sockets. */
export interface ShopWorld {
  readonly dir: string;
  readonly api: ApiClient;
  readonly dumps: string;
  shop(): Promise<ShopStatus>;
  askShop(path: string): Promise<void>;
  /** Takes the stock server away from its address and opens it at another. */
  moveStock(): Promise<string>;
  stop(): Promise<void>;
}

const freePort = async (): Promise<number> => {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
};

const openStock = async (dir: string): Promise<Server> => {
  const server = createServer((_request, response) => response.end("reserved\n"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  writeFileSync(join(dir, "stock-address"), `127.0.0.1:${(server.address() as AddressInfo).port}\n`);
  return server;
};

const closeStock = (server: Server): Promise<unknown> => {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(resolve));
};

/** What a user would write to have this shop watched and healed; everything else is the platform's default. */
const configuration = (dir: string, port: number): string => `
data_dir: ${join(dir, "data")}
http: { port: 0 }
agent:
  services:
    - name: shop
      manager: process
      command: ${process.execPath}
      args: [${SHOP}, --dir, ${dir}, --port, "${port}"]
      stop_with_agent: true
  logs:
    - { path: ${join(dir, "shop.log")}, service: shop }
  paths:
    - name: shop-dumps
      path: ${join(dir, "dumps")}
      limit_bytes: ${DUMPS_LIMIT_BYTES}
      free: ["dump-*.bin"]
      keep_younger_than_s: 0
`;

const startPlatform = async (config: string, onLine: (line: string) => void): Promise<ChildProcess> => {
  const child = spawn(process.execPath, [HOMEOSTAT, "start", "--config", config], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const ready = Promise.withResolvers<void>();
  const listen = (chunk: Buffer): void => {
    output += chunk.toString("utf8");
    for (const line of chunk.toString("utf8").split("\n")) if (line.trim() !== "") onLine(line);
    if (output.includes("ready in")) ready.resolve();
    output = output.slice(-10_000);
  };
  child.stdout.on("data", listen);
  child.stderr.on("data", listen);
  child.once("exit", (code) => ready.reject(new Error(`the platform ended with ${code}: ${output}`)));
  const timer = setTimeout(
    () => ready.reject(new Error(`not ready in ${READY_TIMEOUT_MS} ms: ${output}`)),
    READY_TIMEOUT_MS,
  );
  try {
    await ready.promise;
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  } finally {
    clearTimeout(timer);
  }
  return child;
};

const stopProcess = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGINT");
  const timer = setTimeout(() => child.kill("SIGKILL"), 15_000);
  await ended;
  clearTimeout(timer);
};

/** Starts everything and resolves once the shop serves orders and the platform is ready to act. */
export const openShopWorld = async (onLine: (line: string) => void): Promise<ShopWorld> => {
  const dir = mkdtempSync(join(tmpdir(), "homeostat-drill-"));
  const port = await freePort();
  let stock = await openStock(dir);
  writeFileSync(join(dir, "homeostat.yaml"), configuration(dir, port));
  const platform = await startPlatform(join(dir, "homeostat.yaml"), onLine).catch(async (error) => {
    await closeStock(stock);
    throw error;
  });
  const askShop = async (path: string, method = "POST"): Promise<Response> =>
    fetch(`http://127.0.0.1:${port}${path}`, { method, signal: AbortSignal.timeout(2000) });
  return {
    dir,
    dumps: join(dir, "dumps"),
    api: connect(join(dir, "data")),
    shop: async () => ShopStatus.parse(await (await askShop("/", "GET")).json()),
    askShop: async (path) => void (await (await askShop(path)).arrayBuffer()),
    moveStock: async () => {
      await closeStock(stock);
      stock = await openStock(dir);
      return `127.0.0.1:${(stock.address() as AddressInfo).port}`;
    },
    stop: async () => {
      await stopProcess(platform);
      const shop = await askShop("/", "GET").then(
        (response) => response.json(),
        () => null,
      );
      const running = ShopStatus.safeParse(shop);
      if (running.success) process.kill(running.data.pid, "SIGKILL");
      await closeStock(stock);
      await delay(50);
      rmSync(dir, { recursive: true, force: true });
    },
  };
};
