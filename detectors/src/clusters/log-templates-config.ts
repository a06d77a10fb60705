import { Finding, Severity } from "@homeostat/schemas";
import { z } from "zod";

export const LogTemplatesConfig = z.strictObject({
  detector: z.literal("log_templates"),
  name: z.string().min(1).max(128),
  title: z.string().min(1).max(200).default("Service {service} logs errors"),
  /** Errors within ten seconds that make a burst, in at least so many different seconds: a file that is read from its beginning comes in one. */
  count_min: z.int().min(1).max(1_000_000).default(10),
  seconds_min: z.int().min(1).max(10).default(3),
  /** And so many times what the last ten minutes had on average in ten seconds. */
  factor: z.number().min(1).max(1000).default(3),
  /** A stream's first seconds only teach. */
  warm_up_s: z.int().min(0).max(3600).default(10),
  clear_for_s: z.int().min(1).max(3600).default(10),
  /** A burst that lasts so long is how this stream is. */
  shift_after_s: z.int().min(60).max(604_800).default(3600),
  severity: Severity.default("critical"),
  category: Finding.shape.category.default("symptom"),
  /** Errors of a kind that the stream has never logged, once it has been known for `learn_s`; null to be silent about them. */
  new_error: z
    .strictObject({
      name: z.string().min(1).max(128),
      learn_s: z.int().min(10).max(604_800).default(600),
      count_min: z.int().min(1).max(1_000_000).default(3),
      clear_for_s: z.int().min(10).max(86_400).default(300),
      severity: Severity.default("info"),
    })
    .nullable()
    .default(null),
});
export type LogTemplatesConfig = z.infer<typeof LogTemplatesConfig>;
