import { z } from "zod";
import { Entity } from "./entity.ts";
import { Evidence } from "./evidence.ts";
import { UnixMs } from "./unix-ms.ts";

export const Severity = z.enum(["info", "warning", "critical"]);
export type Severity = z.infer<typeof Severity>;

/**
 * What a detector saw. A finding is a state, not an event: the same `finding_id` is published again as `firing` while it lasts
 * (at most once a minute, or when its severity changes) and once as `resolved`.
 */
export const Finding = z.strictObject({
  /** Stable for one rule, one entity and one episode: `<rule>/<entity>/<started>` hashed. */
  finding_id: z.string().min(1).max(64),
  /** The detector's name: `threshold`, `absence`, `baseline`, `log_templates`, … */
  detector: z.string().min(1).max(64),
  /** The configured rule's name. */
  rule: z.string().min(1).max(128),
  state: z.enum(["firing", "resolved", "no_data"]),
  severity: Severity,
  /** `data_health` findings say that the observer is sick: they veto remediation on their entity. */
  category: z.enum(["symptom", "data_health", "capacity"]),
  entity: Entity,
  /** When the fault began in the data, and when the detector said so. */
  started_at_unix_ms: UnixMs,
  detected_at_unix_ms: UnixMs,
  /** The value that decided, its unit (UCUM, as OpenTelemetry has it), and what was expected; null where there is none. */
  value: z.number().nullable(),
  unit: z.string().max(32),
  expected: z.strictObject({ low: z.number().nullable(), high: z.number().nullable() }).nullable(),
  /** A sentence for a person. */
  summary: z.string().min(1).max(1000),
  labels: z.record(z.string().max(100), z.string().max(1000)),
  evidence: z.array(Evidence).max(10),
});
export type Finding = z.infer<typeof Finding>;
