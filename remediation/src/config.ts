import { Severity } from "@homeostat/schemas";
import { z } from "zod";
import { DEFAULT_RUNBOOKS } from "./runbooks/defaults.ts";
import { Runbooks } from "./runbooks/runbook.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** What a receiver can be told about an incident. */
export const NOTIFIED_EVENTS = [
  "opened",
  "reopened",
  "awaiting_approval",
  "mitigating",
  "escalated",
  "resolved",
  "closed",
] as const;
export const NotifiedEvent = z.enum(NOTIFIED_EVENTS);
export type NotifiedEvent = z.infer<typeof NotifiedEvent>;

const HttpUrl = z.url({ protocol: /^https?$/, error: "want an http or https URL" });

export const WebhookConfig = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/, "want a lower-case name"),
  kind: z.literal("webhook"),
  url: HttpUrl,
  bearer_token: z.string().min(1).max(4096).optional(),
  timeout_ms: z.int().min(100).max(60_000).default(10_000),
  events: z.array(NotifiedEvent).min(1).default(["opened", "reopened", "awaiting_approval", "escalated", "resolved"]),
});
export type WebhookConfig = z.infer<typeof WebhookConfig>;

const ms = (fallback: number, max = 30 * DAY_MS) => z.int().min(0).max(max).default(fallback);
const count = (fallback: number, max: number) => z.int().min(1).max(max).default(fallback);

export const RemediationConfig = z.strictObject({
  runbooks: Runbooks.prefault([...DEFAULT_RUNBOOKS]),
  incident: z
    .strictObject({
      /** Findings that come this soon after the first are part of the diagnosis. */
      group_wait_ms: ms(1000, HOUR_MS),
      /** The grouping window: a resolved incident is closed after this quiet time; what fires sooner reopens it. */
      close_after_ms: ms(300_000),
      /** An escalated incident of which nothing was heard for so long is closed. */
      abandon_after_ms: ms(DAY_MS),
      /** Milder findings join what is open and open nothing. */
      severity_min: Severity.default("warning"),
      /** A firing finding older than this opens no incident: if the fault lasts, it is told again within a minute. */
      finding_age_max_ms: ms(600_000),
      /** Above this many incidents that are not closed, new ones are not opened, and counted. */
      open_max: count(500, 10_000),
      /** Closed incidents and ended runs leave the journal after this. */
      retain_ms: z
        .int()
        .min(2 * DAY_MS)
        .max(90 * DAY_MS)
        .default(7 * DAY_MS),
    })
    .prefault({}),
  guards: z
    .strictObject({
      start_up_grace_ms: ms(15_000, HOUR_MS),
      /** How long a run waits for a guard that may still pass. */
      wait_ms: ms(120_000, DAY_MS),
      facts_age_max_ms: z.int().min(1000).max(HOUR_MS).default(30_000),
      heartbeat_age_max_ms: z.int().min(1000).max(HOUR_MS).default(60_000),
      /** After this many runs of a runbook on an entity in a row that did not help, a person is asked. */
      failed_runs_max: count(2, 100),
    })
    .prefault({}),
  budgets: z
    .strictObject({
      per_entity_per_hour: count(4, 1000),
      fleet_per_hour: count(20, 100_000),
      concurrent_max: count(5, 1000),
    })
    .prefault({}),
  approval_ttl_ms: z
    .int()
    .min(1000)
    .max(7 * DAY_MS)
    .default(HOUR_MS),
  commands: z
    .strictObject({
      /** An agent that sees a command later than this refuses it as expired. */
      delivery_ms: z.int().min(1000).max(HOUR_MS).default(20_000),
      /** How much longer than delivery and the step's own time limit its result is waited for. */
      margin_ms: z.int().min(1000).max(HOUR_MS).default(10_000),
      output_bytes_max: z.int().min(0).max(1_048_576).default(16_384),
    })
    .prefault({}),
  facts: z
    .strictObject({
      poll_ms: z.int().min(100).max(60_000).default(1000),
      timeout_ms: z.int().min(100).max(60_000).default(5000),
    })
    .prefault({}),
  notify: z
    .strictObject({
      attempts_max: count(20, 1000),
      age_max_ms: z
        .int()
        .min(1000)
        .max(7 * DAY_MS)
        .default(DAY_MS),
      backoff_first_ms: z.int().min(10).max(HOUR_MS).default(1000),
      backoff_longest_ms: z.int().min(10).max(HOUR_MS).default(300_000),
      /** Above this many undelivered notifications the oldest are given up. */
      pending_max: count(1000, 100_000),
      /** Where a person finds the incident; goes out as `externalURL`. */
      external_url: HttpUrl.default("http://127.0.0.1:7070"),
    })
    .prefault({}),
  receivers: z
    .array(WebhookConfig)
    .max(20)
    .superRefine((receivers, context) => {
      receivers.forEach(({ name }, index) => {
        const first = receivers.findIndex((other) => other.name === name);
        if (first < index)
          context.addIssue({
            code: "custom",
            path: [index, "name"],
            message: `${name} is the name of receiver ${first} already`,
          });
      });
    })
    .default([]),
});
export type RemediationConfig = z.infer<typeof RemediationConfig>;
