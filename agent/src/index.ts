export { type Agent, type AgentOptions, createAgent } from "./host/agent.ts";
export { createBusLink } from "./host/bus-link.ts";
export { AgentConfig, agentHost, COLLECTOR_NAMES, EXECUTOR_NAMES } from "./host/config.ts";
export { type CommandSubscription, type Link, LinkError, type OutgoingBatch } from "./host/link.ts";
export { pluginLogSource } from "./host/plugins/plugin-log.ts";
export { type PluginPartOptions, pluginPart } from "./host/plugins/plugin-part.ts";
