import type { DeadLetterHeaders, OutgoingMessage } from "@homeostat/schemas";
import type { Dead } from "./triage.ts";

/** The refused value, byte for byte, with the reason beside it. After a crash it may come twice: source and offset tell. */
export const deadLetter = ({ message, reason, detail }: Dead, atUnixMs: number): OutgoingMessage => {
  const headers: Record<keyof DeadLetterHeaders, string> = {
    source_topic: message.topic,
    source_partition: String(message.partition),
    source_offset: String(message.offset),
    reason,
    detail: detail.slice(0, 1000),
    at_unix_ms: String(atUnixMs),
  };
  return { topic: `${message.topic}.dlq`, key: message.key ?? "", value: message.value, headers };
};
