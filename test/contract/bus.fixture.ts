import { onTestFinished } from "vitest";
import type {
  AssignedPartition,
  Bus,
  BusMessage,
  ConsumeOptions,
  Consumer,
  OutgoingMessage,
  Topic,
} from "../../schemas/src/index.ts";

/* A bus with topics of its own for one test, and readers that a test can wait for. */

/** One log with topics of its own; `open` gives a client of it, after the former was stopped. */
export interface BusHarness {
  open(topics: readonly Topic[]): Promise<Bus>;
  dispose(): Promise<void>;
}

export const text = (message: BusMessage) => (message.value === null ? null : Buffer.from(message.value).toString());
export const place = ({ topic, partition }: { topic: string; partition: number }) => `${topic}/${partition}`;

/** Reads into an array, and lets a test wait until something is true of what came. */
class Reading {
  /** Each once: the bus may give a message again that was not committed. */
  readonly messages: BusMessage[] = [];
  readonly #seen = new Set<string>();
  readonly opened: AssignedPartition[] = [];
  readonly closed: string[] = [];
  readonly errors: Error[] = [];
  readonly #waiting = new Set<() => void>();

  add(messages: readonly BusMessage[]): void {
    for (const message of messages) {
      const where = `${place(message)}/${message.offset}`;
      if (!this.#seen.has(where)) this.messages.push(message);
      this.#seen.add(where);
    }
    this.changed();
  }

  changed(): void {
    for (const look of [...this.#waiting]) look();
  }

  until(isTrue: (reading: this) => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!isTrue(this)) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }

  values(): (string | null)[] {
    return this.messages.map(text);
  }
}

interface ReadOptions extends Partial<Omit<ConsumeOptions, "open" | "onError">> {
  group: string;
  topics: string[];
  commits?: boolean;
  startOffset?(partition: AssignedPartition): number;
  onOpen?(partition: AssignedPartition): Promise<void>;
  onReceive?(messages: readonly BusMessage[], partition: AssignedPartition, endOffset: number): Promise<void>;
}

export const read = async (bus: Bus, options: ReadOptions): Promise<{ reading: Reading; consumer: Consumer }> => {
  const { commits, startOffset, onOpen, onReceive, ...consume } = options;
  const reading = new Reading();
  const consumer = await bus.consume({
    ...consume,
    onError: (error) => {
      reading.errors.push(error);
      reading.changed();
    },
    open: async (partition) => {
      await onOpen?.(partition);
      reading.opened.push(partition);
      reading.changed();
      return {
        startOffset: startOffset?.(partition) ?? partition.committed?.offset ?? partition.earliestOffset,
        receive: async (messages, endOffset) => {
          await onReceive?.(messages, partition, endOffset);
          const last = messages.at(-1);
          if (commits && last !== undefined) await partition.commit(last.offset + 1);
          reading.add(messages);
        },
        close: async () => {
          reading.closed.push(place(partition));
          reading.changed();
        },
      };
    },
  });
  return { reading, consumer };
};

export const gate = () => Promise.withResolvers<void>();

/** A fresh log with a topic of three partitions, one of a single partition, and a compacted one. */
export const startBus = async (makeHarness: () => Promise<BusHarness>) => {
  const harness = await makeHarness();
  onTestFinished(() => harness.dispose());
  const suffix = Math.random().toString(36).slice(2, 10);
  const names = { spread: `spread.${suffix}`, single: `single.${suffix}`, journal: `journal.${suffix}` };
  const retention = { kind: "delete", ms: 86_400_000, bytesPerPartition: 1_073_741_824 } as const;
  const topics: Topic[] = [
    { name: names.spread, key: "any", partitions: 3, retention, value: "text" },
    { name: names.single, key: "any", partitions: 1, retention, value: "text" },
    { name: names.journal, key: "any", partitions: 1, retention: { kind: "compact" }, value: "text" },
  ];
  let bus = await harness.open(topics);
  onTestFinished(() => bus.stop());
  const message = (topic: string, key: string, value: string | null): OutgoingMessage => ({
    topic,
    key,
    value: value === null ? null : Buffer.from(value),
  });
  return {
    bus,
    ...names,
    message,
    publish: (topic: string, ...values: string[]) => bus.publish(values.map((value) => message(topic, "key", value))),
    reopen: async () => {
      await bus.stop();
      bus = await harness.open(topics);
      return bus;
    },
  };
};

/** Starts it on the make that is tried. */
export type Start = () => ReturnType<typeof startBus>;
