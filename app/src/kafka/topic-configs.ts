import type { Retention } from "@homeostat/schemas";

const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
const MIB = 1_048_576;

/**
 * Kafka's settings for a topic, as `name=value`: the one place from which topics are created, docker-compose.yml and the docs derive them.
 * Retention and compaction leave the segment alone that is being written, so segments are an eighth of what is kept.
 */
export const topicConfigs = (retention: Retention): Readonly<Record<string, string>> => {
  const common = {
    // Values arrive compressed; the broker must not spend time on them.
    "compression.type": "producer",
    // A hundred values of 300 KB are sent in batches of less than this: see RECORD_BATCH_BYTES in producer.ts.
    "max.message.bytes": String(MIB),
    // Retention must not depend on the clocks of the hosts.
    "message.timestamp.type": "LogAppendTime",
  };
  if (retention.kind === "delete")
    return {
      ...common,
      "cleanup.policy": "delete",
      "retention.ms": String(retention.ms),
      "retention.bytes": String(retention.bytesPerPartition),
      "segment.ms": String(Math.max(HOUR_MS, Math.floor(retention.ms / 8))),
      "segment.bytes": String(Math.min(128 * MIB, Math.max(MIB, Math.floor(retention.bytesPerPartition / 8)))),
    };
  return {
    ...common,
    "cleanup.policy": "compact",
    "delete.retention.ms": String(DAY_MS),
    "min.compaction.lag.ms": "60000",
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": String(DAY_MS),
    "segment.ms": String(HOUR_MS),
    "segment.bytes": String(32 * MIB),
  };
};
