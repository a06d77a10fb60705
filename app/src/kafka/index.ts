export { createKafkaBus, type KafkaBusOptions } from "./bus.ts";
export { topicConfigs } from "./topic-configs.ts";
