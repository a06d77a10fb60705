import type { Bus } from "../../schemas/src/index.ts";

type Published = { readonly topic: string; readonly key: string; readonly value: unknown };

/** What goes wrong at a write that became durable all the same. */
export type Mishap = "death" | "an error";

/** One life of a process on the bus: after `publishesMax` publishes that became durable it is dead, and nothing it does has an effect. */
export class Life {
  readonly published: Published[] = [];
  publishes = 0;
  isDead = false;
  hadMishap = false;
  readonly bus: Bus;
  constructor(inner: Bus, publishesMax: number, mishap: Mishap, activity: { count: number }) {
    const alive = () => {
      if (this.isDead) throw new Error("killed");
    };
    const track = async <T>(work: () => Promise<T>): Promise<T> => {
      activity.count += 1;
      try {
        return await work();
      } finally {
        activity.count -= 1;
      }
    };
    this.bus = {
      publish: (messages) =>
        track(async () => {
          alive();
          await inner.publish(messages);
          for (const { topic, key, value } of messages) {
            this.published.push({ topic, key, value: value && JSON.parse(Buffer.from(value).toString()) });
          }
          this.publishes += 1;
          if (this.publishes === publishesMax) {
            this.isDead = mishap === "death";
            this.hadMishap = true;
            throw new Error("the answer was lost");
          }
        }),
      consume: async (options) => {
        // Until every partition is open there is work under way; only the lease may be another member's for ever.
        let unopened = options.group === "remediation-leader" ? 0 : options.topics.length;
        activity.count += unopened;
        const opened = (count: number) => {
          const left = Math.min(count, unopened);
          unopened -= left;
          activity.count -= left;
        };
        const consumer = await inner.consume({
          ...options,
          open: async (partition) => {
            const commit = (offset: number, metadata?: string) =>
              track(async () => {
                alive();
                await partition.commit(offset, metadata);
              });
            const handler = await options.open({ ...partition, commit }).finally(() => opened(1));
            return {
              startOffset: handler.startOffset,
              receive: (messages, end) =>
                track(async () => {
                  alive();
                  await handler.receive(messages, end);
                }),
              close: async () => handler.close?.(),
            };
          },
        });
        return {
          stop: async () => {
            opened(unopened);
            await consumer.stop();
          },
        };
      },
      lag: (group, topic) => inner.lag(group, topic),
      stop: async () => undefined,
    };
  }
}
