import type { AssignedPartition, Bus, BusMessage, Consumer, Log } from "@homeostat/schemas";

/** One topic of one partition, read to its end of now and then on and on. */
export interface FollowedTopic {
  /** Of the next message to be read. */
  readonly position: number;
  /** Where the group goes on after this; not lower than before, and no call for what stands there already. */
  commit(offset: number): Promise<void>;
  stop(): Promise<void>;
}

export interface FollowOptions {
  readonly topic: string;
  readonly group: string;
  readonly from: "committed" | "earliest" | "end";
  /** `isReplay`: it was there before we began to read. */
  readonly take: (message: BusMessage, isReplay: boolean) => void;
  /** After each batch. */
  readonly afterBatch?: () => void;
  readonly signal: AbortSignal;
  readonly log: Log;
  /** The partition was taken away while it was followed. */
  readonly onLost: () => void;
}

/** Resolves when all that was there has been taken. Rejects when the signal aborts before. */
export const followTopic = async (bus: Bus, options: FollowOptions): Promise<FollowedTopic> => {
  const followed = new Followed(options);
  await followed.start(bus);
  return followed;
};

class Followed implements FollowedTopic {
  readonly #options: FollowOptions;
  readonly #caughtUp = Promise.withResolvers<void>();
  #partition: AssignedPartition | null = null;
  #consumer: Consumer | null = null;
  #committed = -1;
  #replayEnd = 0;
  #isStopped = false;
  position = 0;

  constructor(options: FollowOptions) {
    this.#options = options;
  }

  async start(bus: Bus): Promise<void> {
    const { topic, group, signal, log } = this.#options;
    const onAbort = () => this.#caughtUp.reject(new Error(`the term ended while ${topic} was read`));
    this.#caughtUp.promise.catch(() => undefined);
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    this.#consumer = await bus.consume({
      group,
      topics: [topic],
      maxMessages: 2_000,
      open: async (partition) => this.#open(partition),
      onError: (error) => log.warn({ err: error, topic }, "a batch could not be taken, trying again"),
    });
    try {
      await this.#caughtUp.promise;
    } catch (thrown) {
      await this.stop();
      throw thrown;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  #open(partition: AssignedPartition) {
    const { from, take, afterBatch, onLost } = this.#options;
    // A second time means that somebody else had it in between: what we hold may miss what they wrote.
    if (this.#partition !== null) onLost();
    this.#partition = partition;
    this.#committed = partition.committed?.offset ?? -1;
    this.#replayEnd = partition.endOffset;
    this.position =
      from === "end"
        ? partition.endOffset
        : Math.max(partition.earliestOffset, from === "committed" ? this.#committed : 0);
    if (this.position >= this.#replayEnd) this.#caughtUp.resolve();
    return {
      startOffset: this.position,
      receive: async (messages: readonly BusMessage[]) => {
        for (const message of messages) {
          if (message.offset < this.position) continue;
          this.position = message.offset + 1;
          take(message, message.offset < this.#replayEnd);
        }
        if (this.position >= this.#replayEnd) this.#caughtUp.resolve();
        afterBatch?.();
      },
      close: async () => {
        if (!this.#isStopped) onLost();
      },
    };
  }

  async commit(offset: number): Promise<void> {
    if (this.#partition === null || offset <= this.#committed) return;
    await this.#partition.commit(offset);
    this.#committed = offset;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#consumer?.stop();
  }
}
