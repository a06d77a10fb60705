/** A parent for the test that kills one: starts a store, tells its process, and lives until it is killed. */
import { startEmbeddedStore } from "./start-embedded-store.ts";

const nothing = () => undefined;
const [dir = ""] = process.argv.slice(2);
const { pid } = await startEmbeddedStore({
  dir,
  log: { debug: nothing, info: nothing, warn: nothing, error: nothing },
});
process.send?.({ pid });
