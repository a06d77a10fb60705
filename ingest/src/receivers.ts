/** The second front door: what takes telemetry of other makes. Apart from index.ts, because it brings protobuf and its definitions. */
export { createGateway, type GatewayOptions, type GatewayStatus, type RunningGateway } from "./gateway/gateway.ts";
export { createGatewayServer, type GatewayServerOptions } from "./gateway/gateway-server.ts";
export { decodeBulk } from "./receivers/elasticsearch/bulk-request.ts";
export { elasticsearchReceiver } from "./receivers/elasticsearch/elasticsearch-receiver.ts";
export { lokiReceiver } from "./receivers/loki/loki-receiver.ts";
export { decodeLokiPush } from "./receivers/loki/push-request.ts";
export { decodeOtlpLogs, decodeOtlpMetrics } from "./receivers/otlp/decode.ts";
export { otlpReceiver } from "./receivers/otlp/otlp-receiver.ts";
export {
  createOtlpTopicReader,
  OTLP_TOPIC_GROUP,
  type OtlpTopicReader,
  type OtlpTopicReaderOptions,
  type OtlpTopicStatus,
} from "./receivers/otlp-topic/otlp-topic-reader.ts";
export { createRemoteWrite, remoteWriteReceiver } from "./receivers/remote-write/remote-write.ts";
export { createSyslogReceiver, type SyslogReceiver } from "./receivers/syslog/syslog-receiver.ts";
