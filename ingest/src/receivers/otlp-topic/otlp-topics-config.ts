import { z } from "zod";

export const OtlpTopic = z.strictObject({
  topic: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,249}$/, "want the name of a topic: letters, digits, dots, dashes, underscores"),
  /** What the topic holds. The Collector's kafka exporter writes each signal to a topic of its own. */
  signal: z.enum(["logs", "metrics"]),
  /** As in the Collector's kafka exporter. */
  encoding: z.enum(["otlp_proto", "otlp_json"]).default("otlp_proto"),
});
export type OtlpTopic = z.infer<typeof OtlpTopic>;

/** Topics of the bus that an OpenTelemetry Collector writes to. */
export const OtlpTopics = z
  .array(OtlpTopic)
  .max(50)
  .default([])
  .refine((topics) => new Set(topics.map(({ topic }) => topic)).size === topics.length, {
    error: "want each topic once",
  });
export type OtlpTopics = z.infer<typeof OtlpTopics>;
