export { createEmbeddedBus, type EmbeddedBus } from "./embedded/bus/index.ts";
export { startEmbeddedStore } from "./embedded/store/index.ts";
export { createKafkaBus } from "./kafka/index.ts";
export { newId } from "./new-id.ts";
export { Options, OptionsError, parseOptions } from "./options.ts";
export { type Platform, startPlatform } from "./platform.ts";
export { readOptions } from "./read-options.ts";
export { createRollupJob } from "./rollup-job.ts";
