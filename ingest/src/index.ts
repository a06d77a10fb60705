export { createDeadLetters, DEAD_LETTER_TOPICS, type DeadLetters, LETTERS_MAX } from "./dlq/dead-letters.ts";
export type { Letter, LetterContent } from "./dlq/letter.ts";
export { GatewayConfig, ReceiversConfig } from "./gateway/gateway-config.ts";
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
export { OtlpTopic, OtlpTopics } from "./receivers/otlp-topic/otlp-topics-config.ts";
export { SyslogConfig } from "./receivers/syslog/syslog-config.ts";
export { LetterHeaders } from "./telemetry/dead-letter.ts";
export { hostOfProducer } from "./telemetry/ledger-rows.ts";
export type { ProducerAccount } from "./telemetry/producer-sequences.ts";
