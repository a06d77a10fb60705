export { DEFAULT_RULES } from "./default-rules.ts";
export type { Detector, Saved, Step } from "./detector.ts";
export { DetectorsConfig, Rule, rulesOf } from "./runner/config.ts";
export type { PartitionStatus, Snapshots } from "./runner/partition.ts";
export { createRunner, type Runner, type RunnerOptions, type RunnerStatus } from "./runner/runner.ts";
