import { type AssignedPartition, type Bus, BusError, type BusMessage, type PartitionHandler } from "@homeostat/schemas";
import { type Link, LinkError, type OutgoingBatch, type TakeCommand } from "./link.ts";

/** The link of an agent that speaks to the bus itself. */
export const createBusLink = ({ bus, host }: { bus: Bus; host: string }): Link => {
  const publishJson = (topic: string, value: unknown) =>
    bus.publish([{ topic, key: host, value: Buffer.from(JSON.stringify(value)) }]);
  return {
    publish: (batches) => publishBatches(bus, host, batches),
    // Every agent has a group of its own: each reads all commands and takes those with its key.
    onCommand: (take) =>
      bus.consume({
        group: `agent-${host}`,
        topics: ["agent.commands"],
        open: async (partition) => commandHandler(partition, host, take),
      }),
    publishResult: (result) => publishJson("agent.results", result),
    publishHeartbeat: (heartbeat) => publishJson("agent.heartbeats", heartbeat),
  };
};

const publishBatches = async (bus: Bus, host: string, batches: readonly OutgoingBatch[]): Promise<void> => {
  try {
    await bus.publish(batches.map(({ topic, value }) => ({ topic, key: host, value })));
  } catch (error) {
    if (error instanceof BusError && error.code === "too_large") throw new LinkError("refused", error.message, error);
    throw error;
  }
};

const commandHandler = (partition: AssignedPartition, host: string, take: TakeCommand): PartitionHandler => ({
  startOffset: partition.committed?.offset ?? partition.earliestOffset,
  async receive(messages) {
    for (const message of messages) if (message.key === host && message.value !== null) await take(parse(message));
    const last = messages.at(-1);
    if (last !== undefined) await partition.commit(last.offset + 1);
  },
});

/** What is no JSON is refused like any other malformed command, not read for ever. */
const parse = (message: BusMessage): unknown => {
  try {
    return JSON.parse(Buffer.from(message.value ?? []).toString("utf8"));
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
};
