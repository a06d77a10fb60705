import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createEmbeddedBus, createKafkaBus } from "@homeostat/app";
import { createIngest, type Ingest, IngestConfig, type InsertPort } from "@homeostat/ingest";
import { type Bus, topics } from "@homeostat/schemas";
import { Broker } from "../../test/kafka/broker.ts";
import { type BenchEngine, benchLog } from "./engine.ts";

export type BusKind = "embedded" | "kafka";

/** A bus with ingest on it, in this process, as the platform has them. */
export interface World {
  readonly kind: BusKind;
  readonly bus: Bus;
  readonly ingest: Ingest;
  /** Whose processor time the way from the bus into the store takes. */
  readonly pids: Readonly<Record<string, number>>;
  stop(): Promise<void>;
}

interface OpenBus {
  readonly bus: Bus;
  readonly pids: Readonly<Record<string, number>>;
  stop(): Promise<void>;
}

const openEmbedded = async (): Promise<OpenBus> => {
  const dir = await mkdtemp(join(tmpdir(), "homeostat-bench-bus-"));
  const bus = await createEmbeddedBus({ dir, topics: topics(), now: Date.now, log: benchLog });
  const stop = async (): Promise<void> => {
    await bus.stop();
    await rm(dir, { recursive: true, force: true });
  };
  return { bus, pids: {}, stop };
};

const openKafka = async (): Promise<OpenBus> => {
  const broker = await Broker.create();
  try {
    await broker.start();
    const bus = await createKafkaBus({
      brokers: [broker.address],
      clientId: "bench",
      topics: topics(),
      log: benchLog,
    });
    const stop = async (): Promise<void> => {
      await bus.stop();
      await broker.dispose();
    };
    return { bus, pids: { broker: broker.pid }, stop };
  } catch (error) {
    await broker.dispose();
    throw error;
  }
};

export interface WorldOptions {
  readonly kind: BusKind;
  readonly engine: BenchEngine;
  readonly ingestConfig?: { readonly max_wait_ms?: number };
  /** The engine's own store, if it is not to be watched. */
  readonly insert?: InsertPort;
}

export const startWorld = async ({ kind, engine, ingestConfig = {}, insert }: WorldOptions): Promise<World> => {
  const { bus, pids, stop } = await (kind === "kafka" ? openKafka() : openEmbedded());
  const ingest = createIngest({
    bus,
    insert: insert ?? engine.store,
    config: IngestConfig.parse(ingestConfig),
    now: Date.now,
    log: benchLog,
    host: "bench",
    reportFinding: async (finding) => {
      throw new Error(`ingest is in trouble: ${finding.summary}`);
    },
  });
  try {
    await ingest.start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    kind,
    bus,
    ingest,
    pids: { platform: process.pid, engine: engine.pid, ...pids },
    stop: async () => {
      await ingest.stop();
      await stop();
    },
  };
};
