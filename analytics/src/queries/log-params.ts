import { z } from "zod";
import { RangeParams } from "./range-params.ts";

/** Which log records; empty strings and 0 ask for nothing. */
export const LogParams = z.strictObject({
  ...RangeParams.shape,
  /** Words that must all be in the body, in any order, upper and lower case alike; what is not a letter or digit separates them. */
  text: z.string().max(1000).default(""),
  /** OpenTelemetry's SeverityNumber: 9 info, 13 warn, 17 error, 21 fatal. */
  severity_min: z.int().min(0).max(24).default(0),
  host_name: z.string().max(255).default(""),
  service_name: z.string().max(255).default(""),
  trace_id: z.string().max(64).default(""),
});

export const MATCHING_LOGS = `timestamp >= fromUnixTimestamp64Milli({from_unix_ms:Int64})
  AND timestamp < fromUnixTimestamp64Milli({to_unix_ms:Int64})
  AND if({text:String} = '', true, hasAllTokens(body, {text:String}))
  AND severity_number >= {severity_min:UInt8}
  AND if({host_name:String} = '', true, host_name = {host_name:String})
  AND if({service_name:String} = '', true, service_name = {service_name:String})
  AND if({trace_id:String} = '', true, trace_id = {trace_id:String})`;
