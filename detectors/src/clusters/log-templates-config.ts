import { Finding, Severity } from "@homeostat/schemas";
import { z } from "zod";

const RuleName = z.string().min(1).max(128);

export const RateChangeConfig = z.strictObject({
  name: RuleName,
  /** So many times as often as usual, or so much more seldom. */
  factor: z.number().min(1.5).max(1000).default(4),
  /** Lines in ten seconds, a minute or ten minutes that are no chatter: so many must come, or must have been expected. */
  count_min: z.int().min(5).max(1_000_000).default(30),
  /** That all templates together may cost, were their counts as they are taken for (negative binomial). */
  false_alarms_per_day: z.number().gt(0).max(1000).default(0.1),
  clear_for_s: z.int().min(10).max(86_400).default(60),
  /** A rate that lasts so long is how this template is. */
  shift_after_s: z.int().min(60).max(604_800).default(1800),
  severity: Severity.default("info"),
});

export type RateChangeConfig = z.infer<typeof RateChangeConfig>;

export const VanishedTemplateConfig = z.strictObject({
  name: RuleName,
  /** It must have come so often, and for so long, before it is missed. */
  arrivals_min: z.int().min(5).max(10_000).default(20),
  learn_s: z.int().min(60).max(604_800).default(600),
  absent_min_s: z.int().min(10).max(86_400).default(30),
  false_alarms_per_day: z.number().gt(0).max(1000).default(0.1),
  /** What has been away for so long is not expected any more. */
  shift_after_s: z.int().min(60).max(604_800).default(3600),
  severity: Severity.default("info"),
});

export const NewTemplateConfig = z.strictObject({
  name: RuleName,
  /** A stream's first time only teaches. */
  learn_s: z.int().min(60).max(604_800).default(3600),
  clear_for_s: z.int().min(10).max(86_400).default(300),
  severity: Severity.default("info"),
  /** Of a warning, or a line without a level, whose words are those of a known fault. */
  fault_severity: Severity.default("warning"),
});

export type NewTemplateConfig = z.infer<typeof NewTemplateConfig>;

export const LogTemplatesConfig = z.strictObject({
  detector: z.literal("log_templates"),
  name: RuleName,
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
      name: RuleName,
      learn_s: z.int().min(10).max(604_800).default(600),
      count_min: z.int().min(1).max(1_000_000).default(3),
      clear_for_s: z.int().min(10).max(86_400).default(300),
      severity: Severity.default("info"),
    })
    .nullable()
    .default(null),
  /** Lines of a kind that the stream has never logged: each warning and each known fault, and of the others how many when they are many. */
  new_template: NewTemplateConfig.optional(),
  /** A kind of line that comes far more often, or far more seldom, than it did. */
  rate_change: RateChangeConfig.optional(),
  /** A kind of line that came regularly and is missing while its stream goes on. */
  vanished_template: VanishedTemplateConfig.optional(),
});
export type LogTemplatesConfig = z.infer<typeof LogTemplatesConfig>;
