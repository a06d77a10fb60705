import { setTimeout as delay } from "node:timers/promises";
import { type Bus, BusError, type Log, topics } from "@homeostat/schemas";
import type { SASLOptions } from "kafkajs";
import type { Options } from "./options.ts";

const CONNECT_RETRY_MS = 2000;

interface BusSetting {
  readonly dir: string;
  readonly saslPassword: string;
  readonly now: () => number;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly onWaiting: (what: string) => void;
}

const openOnce = async ({ bus }: Options, { dir, saslPassword, now, log }: BusSetting): Promise<Bus> => {
  if (bus.kind === "embedded") {
    const { createEmbeddedBus } = await import("./embedded/bus/index.ts");
    return createEmbeddedBus({ dir, topics: topics(), now, log, limits: { bytesMax: bus.bytes_max } });
  }
  const { createKafkaBus } = await import("./kafka/index.ts");
  const { brokers, tls, sasl } = bus;
  return createKafkaBus({
    brokers,
    clientId: "homeostat",
    topics: topics(),
    log,
    ...(tls && { ssl: true }),
    // kafkajs types each mechanism apart; ours share a shape.
    ...(sasl && {
      sasl: { mechanism: sasl.mechanism, username: sasl.username, password: saslPassword } as SASLOptions,
    }),
  });
};

/** The bus that the configuration names. Brokers may come up later than we do: say so, and wait for them. */
export const openBus = async (options: Options, setting: BusSetting): Promise<Bus> => {
  for (;;) {
    setting.signal.throwIfAborted();
    try {
      return await openOnce(options, setting);
    } catch (error) {
      if (options.bus.kind !== "kafka" || !(error instanceof BusError && error.retryable)) throw error;
      setting.log.warn({ error: error.message }, "the bus cannot be reached; trying again");
      setting.onWaiting(`Kafka: ${error.message}`);
      await delay(CONNECT_RETRY_MS, undefined, { signal: setting.signal });
    }
  }
};
