import {
  type Batch,
  type Bus,
  BusError,
  decodeBatch,
  type Finding,
  GatewayReport,
  type OutgoingMessage,
} from "@homeostat/schemas";
import { createGateway, type RunningGateway } from "./gateway.ts";
import { GatewayConfig } from "./gateway-config.ts";
import type { LogRecord, Resource, SeriesIdentity } from "./intake.ts";

/** Takes what is published, or refuses as it is told to. It can be read by nobody but the test. */
export class MemoryBus implements Bus {
  readonly messages: OutgoingMessage[] = [];
  /** How often it was asked to take batches. */
  attempts = 0;
  /** What becomes of the next publish of telemetry; undefined: it is taken. */
  fault: ((messages: readonly OutgoingMessage[]) => Promise<void> | void) | undefined;
  #published = Promise.withResolvers<void>();

  async publish(messages: readonly OutgoingMessage[]): Promise<void> {
    const isTelemetry = messages.some(({ topic }) => topic.startsWith("telemetry."));
    if (isTelemetry) {
      this.attempts++;
      await this.fault?.(messages);
    }
    this.messages.push(...messages);
    this.#published.resolve();
    this.#published = Promise.withResolvers();
  }

  /** Resolves with the next publish that is taken. */
  get nextPublish(): Promise<void> {
    return this.#published.promise;
  }

  consume(): never {
    throw new Error("nobody reads this bus");
  }
  lag(): never {
    throw new Error("nobody reads this bus");
  }
  async stop(): Promise<void> {
    this.messages.length = 0;
  }

  get batches(): Batch[] {
    return this.messages
      .filter(({ topic }) => topic.startsWith("telemetry."))
      .map(({ value }) => decodeBatch(value ?? Buffer.alloc(0)));
  }

  get bodies(): string[] {
    return this.batches.flatMap((batch) =>
      batch.schema === "logs" ? Array.from({ length: batch.rowCount }, (_, row) => batch.column("body").at(row)) : [],
    );
  }

  get samples(): { timestamp: number; value: number; fingerprint: bigint }[] {
    return this.batches.flatMap((batch) =>
      batch.schema === "metric_samples"
        ? Array.from({ length: batch.rowCount }, (_, row) => ({
            timestamp: Number(batch.column("timestamp").at(row)),
            value: batch.column("value").at(row) ?? Number.NaN,
            fingerprint: batch.column("fingerprint").at(row) ?? 0n,
          }))
        : [],
    );
  }

  rowsOf(schema: Batch["schema"]): number {
    return this.batches.reduce((sum, batch) => sum + (batch.schema === schema ? batch.rowCount : 0), 0);
  }

  get reports(): GatewayReport[] {
    return this.messages
      .filter(({ topic }) => topic === "ingest.gateways")
      .map(({ value }) => GatewayReport.parse(JSON.parse(Buffer.from(value ?? []).toString())));
  }
}

export const unreachable = (): never => {
  throw new BusError("unreachable", "the broker is down", { retryable: true });
};

export interface GatewayRun {
  readonly gateway: RunningGateway;
  readonly bus: MemoryBus;
  readonly findings: Finding[];
  /** The gateway's clock; a back-off moves it on. */
  readonly clock: { nowUnixMs: number };
}

export const NOW = Date.UTC(2026, 10, 21, 9, 0, 0);

/** A gateway whose clock and back-offs are the test's. */
export const startGateway = (config: Partial<GatewayConfig> = {}): GatewayRun => {
  const bus = new MemoryBus();
  const findings: Finding[] = [];
  const clock = { nowUnixMs: NOW };
  const quiet = () => undefined;
  const gateway = createGateway({
    bus,
    config: GatewayConfig.parse({ linger_ms: 0, ...config }),
    host: "gate-1",
    now: () => clock.nowUnixMs,
    log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
    reportFinding: async (finding) => {
      findings.push(finding);
    },
    randomId: () => "0001",
    random: () => 0.5,
    wait: async (ms) => {
      clock.nowUnixMs += ms;
      await new Promise((resolve) => setImmediate(resolve));
    },
  });
  return { gateway, bus, findings, clock };
};

export const resource = (host = "web-1"): Resource => ({
  host,
  service: "shop",
  attributes: { "host.name": host, "service.name": "shop" },
});

export const record = (body: string, more: Partial<LogRecord> = {}): LogRecord => ({
  timeUnixNano: BigInt(NOW) * 1_000_000n,
  observedUnixNano: 0n,
  severityNumber: 9,
  severityText: "INFO",
  eventName: "",
  scopeName: "",
  traceId: "",
  spanId: "",
  traceFlags: 0,
  body,
  attributes: {},
  ...more,
});

export const series = (name: string, more: Partial<SeriesIdentity> = {}): SeriesIdentity => {
  const host = more.host ?? "web-1";
  return { name, kind: "gauge", unit: "1", host, service: "", attributes: { "host.name": host }, ...more };
};
