export { type EmbeddedStore, startEmbeddedStore } from "./start-embedded-store.ts";
