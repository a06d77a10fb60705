export { EmbeddedStoreError } from "./embedded-store-error.ts";
export {
  type EmbeddedStore,
  type EmbeddedStoreExit,
  type EmbeddedStoreOptions,
  startEmbeddedStore,
} from "./start-embedded-store.ts";
