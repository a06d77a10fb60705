import { setTimeout as delay } from "node:timers/promises";
import { createStore, type Store } from "@homeostat/analytics";
import type { Log } from "@homeostat/schemas";
import { type EmbeddedStore, startEmbeddedStore } from "./embedded/store/index.ts";
import type { Options } from "./options.ts";

const RESTART_DELAYS_MS = [0, 1000, 5000, 15_000, 30_000];

/** The store that is up now. The embedded engine may be replaced by a new one at any moment: ask again for each use. */
export interface LiveStore {
  readonly current: () => Store;
  /** One line for a person: what it is and where. */
  readonly about: string;
  /** null while it is well; otherwise since when and why it is not. */
  readonly trouble: () => string | null;
  stop(): Promise<void>;
}

interface StoreSetting {
  readonly options: Options;
  readonly dir: string;
  readonly password: string;
  readonly now: () => number;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly onWaiting: (what: string) => void;
  /** Each time that an embedded engine is up. */
  readonly onEngine: (address: StoreAddress) => void;
}

/** How to reach a ClickHouse. */
export interface StoreAddress {
  readonly url: string;
  readonly username: string;
  readonly password: string;
}

const CONNECT_RETRY_MS = 2000;

/** A server may come up later than we do: say so, and wait for it. */
const migrated = async (store: Store, where: string, { signal, log, onWaiting }: StoreSetting): Promise<void> => {
  for (;;) {
    signal.throwIfAborted();
    try {
      await store.migrate();
      return;
    } catch (error) {
      if (!(error instanceof Error && "retryable" in error && error.retryable === true)) throw error;
      log.warn({ error: error.message, where }, "the store cannot be reached; trying again");
      onWaiting(`the store at ${where}: ${error.message}`);
      await delay(CONNECT_RETRY_MS, undefined, { signal });
    }
  }
};

const openServer = async (setting: StoreSetting, server: { url: string; username: string }): Promise<LiveStore> => {
  const { options, password, now, log } = setting;
  const store = createStore({ ...server, password, config: options.analytics, now, log });
  await migrated(store, server.url, setting);
  return {
    current: () => store,
    about: `ClickHouse server at ${server.url}`,
    trouble: () => null,
    stop: () => store.close(),
  };
};

/** Starts the engine, and starts it again whenever it ends without being asked. */
const openEmbedded = async (
  setting: StoreSetting,
  { memory_bytes_max: memoryBytesMax, cold_dir: coldDir }: Extract<Options["store"], { kind: "embedded" }>,
): Promise<LiveStore> => {
  const { options, dir, now, log } = setting;
  let isStopping = false;
  let trouble: string | null = null;
  let restarting: Promise<void> = Promise.resolve();

  const begin = async (): Promise<{ readonly engine: EmbeddedStore; readonly store: Store }> => {
    const engine = await startEmbeddedStore({
      dir,
      log,
      memoryBytesMax,
      ...(coldDir !== undefined && { coldDir }),
    });
    const { url, username, password } = engine;
    const store = createStore({ url, username, password, config: options.analytics, now, log });
    try {
      await migrated(store, url, setting);
    } catch (error) {
      await store.close();
      await engine.stop();
      throw error;
    }
    trouble = null;
    setting.onEngine({ url, username, password });
    void engine.exited.then((exit) => {
      if (isStopping || exit.wasAsked) return;
      trouble = `the engine ended (${exit.signal ?? `code ${exit.code}`}) and is being started again`;
      log.error({ exit }, trouble);
      restarting = beginAgain();
    });
    return { engine, store };
  };

  const beginAgain = async (): Promise<void> => {
    const dead = live.store;
    for (let attempt = 0; !isStopping; attempt += 1) {
      await delay(RESTART_DELAYS_MS[Math.min(attempt, RESTART_DELAYS_MS.length - 1)]);
      if (isStopping) return;
      try {
        live = await begin();
        await dead.close();
        return;
      } catch (error) {
        trouble = `the engine does not start: ${error instanceof Error ? error.message : String(error)}`;
        log.error({ error: trouble, attempt }, "the embedded store is down");
      }
    }
  };

  let live = await begin();
  return {
    current: () => live.store,
    about: "embedded ClickHouse, a child process",
    trouble: () => trouble,
    stop: async () => {
      isStopping = true;
      await restarting;
      await live.store.close();
      await live.engine.stop();
    },
  };
};

export const openLiveStore = (setting: StoreSetting): Promise<LiveStore> => {
  const { store } = setting.options;
  return store.kind === "embedded"
    ? openEmbedded(setting, store)
    : openServer(setting, { url: store.url, username: store.username });
};
