import { z } from "zod";

/** A log record as answers have it. */
export const LogRow = z.strictObject({
  /** Nanoseconds do not fit a JSON number: a string. */
  time_unix_nano: z.string(),
  /** When the collector saw it; `0` where nobody said so. */
  observed_time_unix_nano: z.string(),
  severity_number: z.int(),
  severity_text: z.string(),
  host_name: z.string(),
  service_name: z.string(),
  event_name: z.string(),
  scope_name: z.string(),
  trace_id: z.string(),
  span_id: z.string(),
  trace_flags: z.int(),
  body: z.string(),
  attributes: z.record(z.string(), z.string()),
  /** Whose attributes: 16 hexadecimal digits for the query `log_resources`; zeros where there is none. */
  resource_id: z.string(),
});

export const LOG_COLUMNS = `
  toString(toUnixTimestamp64Nano(timestamp)) AS time_unix_nano,
  toString(toUnixTimestamp64Nano(observed_timestamp)) AS observed_time_unix_nano,
  severity_number, severity_text, host_name, service_name, event_name, scope_name,
  trace_id, span_id, trace_flags, body, attributes,
  lower(leftPad(hex(logs.resource_id), 16, '0')) AS resource_id`;
