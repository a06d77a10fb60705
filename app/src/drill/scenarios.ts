import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { DUMPS_LIMIT_BYTES, type ShopWorld } from "./shop-world.ts";

/** A fault that is really injected, and what only an outsider can say: whether the shop is well again. */
export interface Scenario {
  readonly name: string;
  readonly what: string;
  /** The one action that is right, and on what; anything else that runs counts as wrong. */
  readonly rightAction: { readonly action: string; readonly params: Readonly<Record<string, string>> };
  /** Says what it did. */
  inject(world: ShopWorld): Promise<string>;
  /** Asked without the platform's help. */
  isWell(world: ShopWorld): Promise<boolean>;
}

const ordersSucceed = async (world: ShopWorld): Promise<boolean> => {
  const before = await world.shop().catch(() => null);
  if (before === null) return false;
  await delay(500);
  const after = await world.shop().catch(() => null);
  return after !== null && after.pid === before.pid && after.orders > before.orders && after.failed === before.failed;
};

const dumpsBytes = (world: ShopWorld): number =>
  readdirSync(world.dumps).reduce((sum, name) => sum + statSync(join(world.dumps, name)).size, 0);

const DUMP_FILES = 15;
const DUMP_BYTES = 4 * 1_048_576;

export const SCENARIOS: readonly Scenario[] = [
  {
    name: "service-crash",
    what: "the shop's process is killed with SIGKILL",
    rightAction: { action: "restart_service", params: { service: "shop" } },
    inject: async (world) => {
      const { pid } = await world.shop();
      process.kill(pid, "SIGKILL");
      return `kill -9 ${pid} (shop)`;
    },
    isWell: ordersSucceed,
  },
  {
    name: "log-errors",
    what: "the stock server moves to another address; the shop holds on to the old one and every order fails",
    rightAction: { action: "restart_service", params: { service: "shop" } },
    inject: async (world) => `stock server moved to ${await world.moveStock()}; the shop still asks the old address`,
    isWell: ordersSucceed,
  },
  {
    name: "disk-filling",
    what: "the shop dumps its state until its declared directory is nearly full",
    rightAction: { action: "free_disk", params: { path: "shop-dumps" } },
    inject: async (world) => {
      await world.askShop(`/dump?files=${DUMP_FILES}&bytes=${DUMP_BYTES}`);
      return `${DUMP_FILES} dumps of ${DUMP_BYTES / 1_048_576} MiB into a directory of ${DUMPS_LIMIT_BYTES / 1_048_576} MiB`;
    },
    isWell: async (world) => dumpsBytes(world) < 0.9 * DUMPS_LIMIT_BYTES && (await ordersSucceed(world)),
  },
];
