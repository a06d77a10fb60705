import { DeadLetterHeaders, type OutgoingMessage } from "@homeostat/schemas";
import { z } from "zod";
import type { Dead } from "./triage.ts";

/** On a telemetry message: the dead letter (`topic/partition/offset`) that it is a replay of. It lifts the late fence. */
export const REPLAY_HEADER = "replay_of";

/** Of a letter from telemetry; `replay_of` where the refused message was itself the replay of a letter. */
export const LetterHeaders = DeadLetterHeaders.extend({ [REPLAY_HEADER]: z.string().max(300).optional() });
export type LetterHeaders = z.infer<typeof LetterHeaders>;

/** The refused value with the reason beside it. After a crash it may come twice: source, offset and reason tell. */
export const deadLetter = ({ message, value, reason, detail }: Dead, atUnixMs: number): OutgoingMessage => {
  const replayOf = message.headers[REPLAY_HEADER];
  const headers: Record<keyof DeadLetterHeaders, string> = {
    source_topic: message.topic,
    source_partition: String(message.partition),
    source_offset: String(message.offset),
    reason,
    detail: detail.slice(0, 1000),
    at_unix_ms: String(atUnixMs),
  };
  return {
    topic: `${message.topic}.dlq`,
    key: message.key ?? "",
    value,
    headers: replayOf === undefined ? headers : { ...headers, [REPLAY_HEADER]: replayOf.slice(0, 300) },
  };
};
