import {
  type AssignedPartition,
  type Bus,
  BusError,
  type BusMessage,
  commandsOf,
  Dispatch,
  type Log,
  type PartitionHandler,
  type Progress,
} from "@homeostat/schemas";
import { type Link, LinkError, type OrderListener, type OutgoingBatch } from "./link.ts";

/** Of progress that the bus has not taken yet; what comes then is left out: only results count. */
const PROGRESS_BYTES_IN_FLIGHT_MAX = 1_048_576;

/** The link of an agent that speaks to the bus itself. */
export const createBusLink = ({ bus, host, log }: { bus: Bus; host: string; log?: Log }): Link => {
  const publishJson = (topic: string, value: unknown) =>
    bus.publish([{ topic, key: host, value: Buffer.from(JSON.stringify(value)) }]);
  return {
    publish: (batches) => publishBatches(bus, host, batches),
    // Every agent has a group of its own: each reads all orders and takes those that name its host.
    onOrder: (listener) =>
      bus.consume({
        group: `agent-${host}`,
        topics: ["agent.commands"],
        open: async (partition) => orderHandler(partition, host, listener),
      }),
    publishResult: (result) => publishJson("agent.results", result),
    publishProgress: progressPublisher(bus, host, log),
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

const progressPublisher = (bus: Bus, host: string, log: Log | undefined) => {
  let bytes = 0;
  return (progress: Progress): void => {
    const value = Buffer.from(JSON.stringify(progress));
    if (bytes + value.length > PROGRESS_BYTES_IN_FLIGHT_MAX) return;
    bytes += value.length;
    bus
      .publish([{ topic: "agent.progress", key: host, value }])
      .catch((error: unknown) => log?.debug({ error: String(error) }, "progress was lost"))
      .finally(() => {
        bytes -= value.length;
      });
  };
};

const orderHandler = (partition: AssignedPartition, host: string, listener: OrderListener): PartitionHandler => ({
  startOffset: partition.committed?.offset ?? partition.earliestOffset,
  async receive(messages) {
    // All at once: the journal writes down together what comes together. One that fails brings all of them again.
    await Promise.all(messages.map((message) => take(message, host, listener)));
    const last = messages.at(-1);
    if (last !== undefined) await partition.commit(last.offset + 1);
  },
});

const take = async (message: BusMessage, host: string, listener: OrderListener): Promise<void> => {
  const value = parse(message);
  if (value === null || typeof value !== "object") return;
  if ("cancel" in value) {
    await listener.cancel(value);
    return;
  }
  // A look without a schema first: an agent reads the orders of the whole fleet.
  if (!("hosts" in value) || !Array.isArray(value.hosts) || !value.hosts.includes(host)) return;
  const dispatch = dispatchIn(value);
  if (dispatch !== null) await listener.command(commandsOf(dispatch)(dispatch.hosts.indexOf(host)));
};

const dispatchIn = (value: object): Dispatch | null => {
  try {
    return Dispatch.safeParse(value).data ?? null;
  } catch (error) {
    // Nested deeper than the stack.
    if (error instanceof RangeError) return null;
    throw error;
  }
};

/** What is no JSON is nobody's, and not read for ever. */
const parse = (message: BusMessage): unknown => {
  try {
    return JSON.parse(Buffer.from(message.value ?? []).toString("utf8"));
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
};
