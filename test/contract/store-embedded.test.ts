import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startEmbeddedStore } from "../../app/src/embedded/store/index.ts";
import { describeStore } from "./store.ts";
import { quietLog } from "./store-rows.ts";

describeStore("the embedded store", async () => {
  const dir = await mkdtemp(join(tmpdir(), "homeostat-store-"));
  const store = await startEmbeddedStore({ dir, log: quietLog });
  return {
    url: store.url,
    username: store.username,
    password: store.password,
    dispose: async () => {
      await store.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
});
