import { z } from "zod";
import { Labels, labelsMap, RangeParams } from "./range-params.ts";

/** Each word is a condition of its own, so that each can go through the index. */
export const LOG_WORDS_MAX = 16;

/** ASCII that is neither letter nor digit, as the engine's tokenizer `splitByNonAlpha` has it. */
const SEPARATORS = /[\0-/:-@[-`{-\x7f]+/;

/** As the engine's lower() has it: ASCII letters only. */
const lowered = (text: string): string => text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());

const wordsOf = (text: string): readonly string[] => [...new Set(lowered(text).split(SEPARATORS).filter(Boolean))];

/** Which log records; empty strings and 0 ask for nothing. */
export const LogParams = z.strictObject({
  ...RangeParams.shape,
  /** Words that must all be in the body, in any order, upper and lower case alike; what is not a letter or digit separates them. */
  text: z
    .string()
    .max(1000)
    .refine((text) => wordsOf(text).length <= LOG_WORDS_MAX, `want at most ${LOG_WORDS_MAX} different words`)
    .default(""),
  /** OpenTelemetry's SeverityNumber: 9 info, 13 warn, 17 error, 21 fatal. */
  severity_min: z.int().min(0).max(24).default(0),
  /** As the sender has it, upper and lower case alike. */
  severity_text: z.string().max(64).default(""),
  host_name: z.string().max(255).default(""),
  service_name: z.string().max(255).default(""),
  trace_id: z.string().max(64).default(""),
  /** Attributes of the record's resource: every one must be there and equal. */
  resource: Labels.default({}),
});

/** What the parameters bind to. */
export const bindLogs = <P extends z.output<typeof LogParams>>({ text, resource, ...params }: P) => {
  const words = wordsOf(text);
  return {
    ...params,
    resource: labelsMap(resource),
    ...Object.fromEntries(Array.from({ length: LOG_WORDS_MAX }, (_, at) => [`word_${at}`, words[at] ?? ""])),
  };
};

const HAS_WORDS = Array.from(
  { length: LOG_WORDS_MAX },
  (_, at) => `AND if({word_${at}:String} = '', true, hasToken(lower(body), {word_${at}:String}))`,
).join("\n  ");

/** Resources are told at least every ten minutes, and the newest telling of a day replaces the others: whole days, and one before. */
export const TOLD_RESOURCES = `seen_at >= toStartOfDay(fromUnixTimestamp64Milli({from_unix_ms:Int64})) - INTERVAL 1 DAY
      AND seen_at < toStartOfDay(fromUnixTimestamp64Milli({to_unix_ms:Int64})) + INTERVAL 2 DAY`;

const OF_RESOURCE = `logs.resource_id IN (
    SELECT resource_id
    FROM log_resources
    WHERE ${TOLD_RESOURCES}
      AND arrayAll((name, value) -> log_resources.attributes[name] = value, mapKeys({resource:Map(String, String)}), mapValues({resource:Map(String, String)})))`;

export const MATCHING_LOGS = `timestamp >= fromUnixTimestamp64Milli({from_unix_ms:Int64})
  AND timestamp < fromUnixTimestamp64Milli({to_unix_ms:Int64})
  ${HAS_WORDS}
  AND severity_number >= {severity_min:UInt8}
  AND if({severity_text:String} = '', true, lower(severity_text) = lower({severity_text:String}))
  AND if({host_name:String} = '', true, host_name = {host_name:String})
  AND if({service_name:String} = '', true, service_name = {service_name:String})
  AND if({trace_id:String} = '', true, trace_id = {trace_id:String})
  AND if(empty({resource:Map(String, String)}), true, ${OF_RESOURCE})`;
