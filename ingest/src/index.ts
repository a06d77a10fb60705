export { createDeadLetters, DEAD_LETTER_TOPICS, type DeadLetters, LETTERS_MAX } from "./dlq/dead-letters.ts";
export type { Letter, LetterContent } from "./dlq/letter.ts";
export { createGateway, type GatewayOptions, type GatewayStatus, type RunningGateway } from "./gateway/gateway.ts";
export { GatewayConfig, ReceiversConfig } from "./gateway/gateway-config.ts";
export { createGatewayServer, type GatewayServerOptions } from "./gateway/gateway-server.ts";
export type { ReportFinding } from "./health-finding.ts";
export {
  createIngest,
  type Ingest,
  type IngestOptions,
  type IngestStatus,
  PROJECTION_GROUP,
  TELEMETRY_GROUP,
} from "./ingest.ts";
export { IngestConfig } from "./ingest-config.ts";
export type { IngestCounts } from "./ingest-counts.ts";
export type { InsertPort, JsonInsert, NativeInsert, RecordTable } from "./insert-port.ts";
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
export { OtlpTopic, OtlpTopics } from "./receivers/otlp-topic/otlp-topics-config.ts";
export { createRemoteWrite, remoteWriteReceiver } from "./receivers/remote-write/remote-write.ts";
export { SyslogConfig } from "./receivers/syslog/syslog-config.ts";
export { createSyslogReceiver, type SyslogReceiver } from "./receivers/syslog/syslog-receiver.ts";
export { LetterHeaders } from "./telemetry/dead-letter.ts";
export { hostOfProducer } from "./telemetry/ledger-rows.ts";
export type { ProducerAccount } from "./telemetry/producer-sequences.ts";
