import { randomUUID } from "node:crypto";
import {
  createGateway,
  createGatewayServer,
  createOtlpTopicReader,
  createSyslogReceiver,
  elasticsearchReceiver,
  type GatewayServerOptions,
  type GatewayStatus,
  lokiReceiver,
  type OtlpTopicStatus,
  otlpReceiver,
  remoteWriteReceiver,
} from "@homeostat/ingest/receivers";
import type { Bus, Finding, Log } from "@homeostat/schemas";
import type { Options } from "./options.ts";
import type { Secret } from "./secret.ts";
import type { Undo } from "./undo.ts";

type ReceiversOptions = NonNullable<Options["receivers"]>;

export interface ReceiversSite {
  readonly config: ReceiversOptions;
  readonly bus: Bus;
  readonly host: string;
  readonly secret: (secret: Secret) => Promise<string>;
  readonly reportFinding: (finding: Finding) => Promise<void>;
  readonly now: () => number;
  readonly log: Log;
  readonly undo: Undo;
}

/** What takes telemetry of other makes in this process. */
export interface Receivers {
  /** Where it listens, one line each for a person. */
  readonly places: readonly string[];
  readonly gateway: () => GatewayStatus;
  /** null where no topic is read. */
  readonly topics: (() => OtlpTopicStatus) | null;
}

const enabledReceivers = (config: ReceiversOptions): GatewayServerOptions["receivers"] =>
  [
    config.otlp.enabled && otlpReceiver,
    config.prometheus_remote_write.enabled && remoteWriteReceiver,
    config.loki.enabled && lokiReceiver,
    config.elasticsearch.enabled && elasticsearchReceiver,
  ].filter((receiver) => receiver !== false);

/** Each stops before the gateway, so that what it has taken is on the bus. */
export const startReceivers = async (site: ReceiversSite): Promise<Receivers> => {
  const { config, bus, host, secret, reportFinding, now, log, undo } = site;
  const places: string[] = [];
  const gateway = createGateway({ bus, config: config.gateway, host, now, log, reportFinding, randomId: randomUUID });
  gateway.start();
  undo.add("gateway", () => gateway.stop());

  if (config.senders.length > 0) {
    const senders = await Promise.all(
      config.senders.map(async ({ name, token }) => ({ name, token: await secret(token) })),
    );
    const receivers = enabledReceivers(config);
    const server = createGatewayServer({ gateway, config: { ...config, senders }, receivers, now, log });
    const url = await server.listen({ host: config.http.host, port: config.http.port });
    undo.add("receivers over HTTP", () => server.close());
    places.push(url);
  }
  if (config.syslog.enabled) {
    const syslog = createSyslogReceiver({ gateway, config: config.syslog, now, log });
    undo.add("syslog receiver", () => syslog.stop());
    await syslog.start();
    const { tcp, udp } = syslog.ports;
    if (tcp !== null) places.push(`syslog on TCP ${config.syslog.host}:${tcp}`);
    if (udp !== null) places.push(`syslog on UDP ${config.syslog.host}:${udp}`);
  }
  if (config.otlp_topics.length === 0) return { places, gateway: gateway.status, topics: null };
  const reader = createOtlpTopicReader({ bus, topics: config.otlp_topics, limits: config.gateway, now, log });
  undo.add("OTLP topics", () => reader.stop());
  await reader.start();
  places.push(`topics ${config.otlp_topics.map(({ topic }) => topic).join(", ")}`);
  return { places, gateway: gateway.status, topics: reader.status };
};
