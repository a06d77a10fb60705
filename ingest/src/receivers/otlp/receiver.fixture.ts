import { type Batch, TELEMETRY, type TelemetrySchema } from "@homeostat/schemas";
import type { FastifyPluginAsync } from "fastify";
import { onTestFinished } from "vitest";
import { type GatewayRun, type MemoryBus, startGateway } from "../../gateway/gateway.fixture.ts";
import { ReceiversConfig } from "../../gateway/gateway-config.ts";
import { createGatewayServer } from "../../gateway/gateway-server.ts";
import type { Gateway, HistogramPoint, LogRecord, Resource, SeriesIdentity, Submission } from "../../gateway/intake.ts";
import type { ReceiverPorts } from "../../gateway/receive.ts";

const TOKEN = "token-of-the-shipper";

export interface ReceiverRun extends GatewayRun {
  send(request: {
    readonly method?: "GET" | "HEAD" | "POST" | "PUT";
    readonly path: string;
    readonly body?: Buffer | string;
    readonly headers?: Readonly<Record<string, string>>;
  }): Promise<{ readonly status: number; readonly headers: Record<string, unknown>; readonly body: Buffer }>;
}

/** One receiver on the real gateway and its real server, without a port. */
export const startReceiver = (receiver: (ports: ReceiverPorts) => FastifyPluginAsync): ReceiverRun => {
  const run = startGateway();
  const quiet = () => undefined;
  const server = createGatewayServer({
    gateway: run.gateway,
    config: ReceiversConfig.parse({ senders: [{ name: "shipper", token: TOKEN }] }),
    receivers: [receiver],
    log: { debug: quiet, info: quiet, warn: quiet, error: console.error },
    now: () => run.clock.nowUnixMs,
  });
  onTestFinished(async () => {
    await server.close();
    await run.gateway.stop();
  });
  return {
    ...run,
    send: async ({ method = "POST", path, body, headers = {} }) => {
      const authorization = `Bearer ${TOKEN}`;
      const response = await server.inject({
        method,
        url: path,
        headers: { authorization, ...headers },
        ...(body === undefined ? {} : { payload: body }),
      });
      return { status: response.statusCode, headers: response.headers, body: response.rawPayload };
    },
  };
};

/** Every row of a table that is on the bus, by column name. */
export const rowsOf = (bus: MemoryBus, schema: TelemetrySchema): Record<string, unknown>[] =>
  bus.batches
    .filter((batch) => batch.schema === schema)
    .flatMap((batch: Batch) =>
      Array.from({ length: batch.rowCount }, (_, row) =>
        Object.fromEntries(
          TELEMETRY[schema].map(({ name }) => {
            const column: { at(row: number): unknown } = Reflect.apply(batch.column, batch, [name]);
            return [name, column.at(row)];
          }),
        ),
      ),
    );

export interface Recorded {
  readonly logs: { readonly resource: Resource; readonly record: LogRecord }[];
  readonly samples: { series: SeriesIdentity; timestampUnixMs: number; value: number; startUnixMs: number }[];
  readonly histograms: { series: SeriesIdentity; point: HistogramPoint; startUnixMs: number }[];
  readonly rejected: Record<string, number>;
  readonly seriesMade: SeriesIdentity[];
}

/** Takes everything and remembers it as it came. */
export const recorder = (): {
  recorded: Recorded;
  registry: Pick<Gateway, "resource" | "series">;
  sink: Pick<Submission, "log" | "sample" | "histogram" | "reject">;
} => {
  const recorded: Recorded = { logs: [], samples: [], histograms: [], rejected: {}, seriesMade: [] };
  return {
    recorded,
    registry: {
      resource: (resource) => resource as never,
      series: (series) => {
        recorded.seriesMade.push(series);
        return series as never;
      },
    },
    sink: {
      log: (resource, record) => {
        recorded.logs.push({ resource: resource as never, record });
        return null;
      },
      sample: (series, timestampUnixMs, value, startUnixMs = 0) => {
        recorded.samples.push({ series: series as never, timestampUnixMs, value, startUnixMs });
        return null;
      },
      histogram: (series, point, startUnixMs = 0) => {
        recorded.histograms.push({ series: series as never, point, startUnixMs });
        return null;
      },
      reject: (reason, records) => {
        recorded.rejected[reason] = (recorded.rejected[reason] ?? 0) + records;
      },
    },
  };
};
