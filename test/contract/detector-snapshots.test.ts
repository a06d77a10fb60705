import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createStore, type Store, StoreConfig } from "../../analytics/src/index.ts";
import { type EmbeddedStore, startEmbeddedStore } from "../../app/src/embedded/store/index.ts";
import { NOON, quietLog } from "./store-rows.ts";

describe("detectors' states on a real engine", () => {
  let dir: string;
  let engine: EmbeddedStore;
  let store: Store;
  let nowUnixMs = NOON;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "homeostat-snapshots-"));
    engine = await startEmbeddedStore({ dir, log: quietLog });
    const { url, username, password } = engine;
    const now = () => ++nowUnixMs;
    store = createStore({ url, username, password, config: StoreConfig.parse({}), now, log: quietLog });
    await store.migrate();
  });
  afterAll(async () => {
    await store.close();
    await engine.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const loaded = async (): Promise<string> =>
    Buffer.from((await store.snapshots.load("detectors", "t/0")) ?? []).toString();

  it("are those that were saved last, however often the same version is saved", async () => {
    for (const state of ["first", "second", "first", "third"]) {
      await store.snapshots.save("detectors", "t/0", 2, Buffer.from(state));
      expect(await loaded()).toBe(state);
    }
  });

  it("are those that were saved last also when the clock was ahead, over a restart too", async () => {
    nowUnixMs += 7_200_000;
    await store.snapshots.save("detectors", "t/0", 2, Buffer.from("ahead"));
    nowUnixMs -= 7_200_000;
    await store.snapshots.save("detectors", "t/0", 2, Buffer.from("back"));
    expect(await loaded()).toBe("back");
    const { url, username, password } = engine;
    const config = StoreConfig.parse({});
    const next = createStore({ url, username, password, config, now: () => nowUnixMs, log: quietLog });
    await next.snapshots.save("detectors", "t/0", 2, Buffer.from("after a restart"));
    expect(await loaded()).toBe("after a restart");
    await next.close();
  });

  it("are those of the highest version, over midnight too", async () => {
    nowUnixMs += 86_400_000;
    await store.snapshots.save("detectors", "t/0", 2, Buffer.from("next day"));
    expect(await loaded()).toBe("next day");
    await store.snapshots.save("detectors", "t/0", 1, Buffer.from("older program"));
    expect(await loaded()).toBe("next day");
  });
});
