import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createStore, type Store } from "@homeostat/analytics";
import type { Log } from "@homeostat/schemas";
import { z } from "zod";
import type { StoreAddress } from "../live-store.ts";
import type { Options } from "../options.ts";
import { readSecret } from "../secret.ts";

const StoreFile = z.strictObject({ url: z.url(), username: z.string(), password: z.string() });

const nothing = (): void => undefined;
/** Every failure reaches the caller, who tells it. */
const silent: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

/** A replay's pieces are large, and nobody waits at a browser. */
const QUERY_TIMEOUT_MS = 120_000;

const addressOf = async (
  { store, data_dir }: Options,
  env: Readonly<Record<string, string | undefined>>,
): Promise<StoreAddress> => {
  if (store.kind === "clickhouse") {
    const password = store.password === undefined ? "" : await readSecret(store.password, env);
    return { url: store.url, username: store.username, password };
  }
  try {
    return StoreFile.parse(JSON.parse(readFileSync(join(data_dir, "secrets", "store.json"), "utf8")));
  } catch (cause) {
    throw new Error(`no platform with an embedded store runs on ${data_dir} (start one with: npm start)`, { cause });
  }
};

/** The store that a configuration names, for reading: a server, or the embedded one of the platform that runs. */
export const openStoreOf = async (
  options: Options,
  env: Readonly<Record<string, string | undefined>>,
  now: () => number,
): Promise<Store> =>
  createStore({
    ...(await addressOf(options, env)),
    config: { ...options.analytics, query_timeout_ms: QUERY_TIMEOUT_MS },
    now,
    log: silent,
  });
