import type { AssignedPartition, Bus, Consumer, Log } from "@homeostat/schemas";
import { type DetectorsConfig, rulesOf } from "./config.ts";
import type { Intake } from "./intake.ts";
import { LogIntake } from "./log-intake.ts";
import { MetricIntake } from "./metric-intake.ts";
import { Partition, type PartitionPorts, type PartitionStatus, type Snapshots } from "./partition.ts";
import { logWatches, metricWatches } from "./watch.ts";

export interface RunnerOptions {
  readonly bus: Bus;
  readonly config: DetectorsConfig;
  readonly snapshots: Snapshots;
  readonly now: () => number;
  readonly log: Log;
}

export interface RunnerStatus {
  readonly rules: readonly string[];
  readonly partitions: readonly PartitionStatus[];
}

export interface Runner {
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Moves time on for what silence tells; called each second. */
  tick(nowUnixMs: number): Promise<void>;
  status(): RunnerStatus;
}

const GROUP = "detectors";
const TOPICS = ["telemetry.logs", "telemetry.metrics"] as const;

/** Reads telemetry, lets the rules look at it, and publishes what they find. */
export const createRunner = ({ bus, config, snapshots, now, log }: RunnerOptions): Runner => {
  const rules = rulesOf(config);
  const partitions = new Set<Partition>();
  let consumer: Consumer | null = null;
  const ports: PartitionPorts = { bus, snapshots, now, log, snapshotIntervalMs: config.snapshot_interval_s * 1000 };

  const intakeFor = (topic: string): Intake =>
    topic === "telemetry.logs"
      ? new LogIntake(logWatches(rules), config)
      : new MetricIntake(metricWatches(rules), config);

  /** Damaged state is no reason to see nothing: the partition is read anew. A store that is away is: opening is tried again. */
  const restored = async (assigned: AssignedPartition): Promise<Partition> => {
    const partition = new Partition(assigned, intakeFor(assigned.topic), ports);
    const bytes = await partition.saved();
    if (bytes === null) return partition;
    try {
      partition.restore(bytes);
      return partition;
    } catch (error) {
      const { topic, partition: number } = assigned;
      const reason = error instanceof Error ? error.message : String(error);
      log.warn({ topic, partition: number, error: reason }, "the detectors' state is damaged and starts anew");
      return new Partition(assigned, intakeFor(topic), ports);
    }
  };

  const open = async (assigned: AssignedPartition) => {
    const partition = await restored(assigned);
    partitions.add(partition);
    return {
      startOffset: partition.startOffset,
      receive: partition.receive.bind(partition),
      close: async () => {
        partitions.delete(partition);
        await partition.close();
      },
    };
  };

  return {
    async start() {
      consumer ??= await bus.consume({
        group: GROUP,
        topics: TOPICS,
        maxMessages: 64,
        open,
        onError: (error, at) => log.warn({ ...at, error: error.message }, "the detectors' consumer tries again"),
      });
    },
    async stop() {
      const stopping = consumer;
      consumer = null;
      await stopping?.stop();
    },
    async tick(nowUnixMs) {
      await Promise.all(Array.from(partitions, (partition) => partition.tick(nowUnixMs)));
    },
    status: () => ({
      rules: rules.map(({ name }) => name),
      partitions: Array.from(partitions, (partition) => partition.status()),
    }),
  };
};
