import { z } from "zod";
import { AbsenceConfig } from "../absence/absence.ts";
import { SilenceConfig } from "../absence/silence.ts";
import { HostAnomalyConfig } from "../anomaly/host/host-anomaly.ts";
import { SeriesAnomalyConfig } from "../anomaly/series-anomaly.ts";
import { BaselineConfig } from "../baseline/baseline.ts";
import { LogTemplatesConfig } from "../clusters/log-templates-config.ts";
import { DEFAULT_RULES } from "../default-rules.ts";
import { CapacityConfig } from "../forecast/capacity.ts";
import { ThresholdConfig } from "../threshold/threshold.ts";

/** One line for each detector; its object stands in watch.ts, or in hourly-rule.ts. */
export const Rule = z.discriminatedUnion("detector", [
  ThresholdConfig,
  AbsenceConfig,
  SilenceConfig,
  BaselineConfig,
  SeriesAnomalyConfig,
  HostAnomalyConfig,
  LogTemplatesConfig,
  CapacityConfig,
]);
export type Rule = z.infer<typeof Rule>;

export const DetectorsConfig = z
  .strictObject({
    /** Beside the default rules; one of the same name takes the default's place. */
    rules: z.array(Rule).max(200).default([]),
    /** Names of default rules that are not wanted. */
    disabled_rules: z.array(z.string().max(128)).max(200).default([]),
    snapshot_interval_s: z.int().min(1).max(3600).default(30),
    /** Of one partition. At the cap new series are not watched, and a `data_health` finding says so. */
    series_max: z.int().min(1).max(10_000_000).default(200_000),
    /** Of one partition and one metric, so that a metric whose labels explode does not take the place of all others. */
    series_per_metric_max: z.int().min(1).max(10_000_000).default(50_000),
    /** Of one partition, likewise; a stream is one service's logs on one host. */
    streams_max: z.int().min(1).max(60_000).default(5000),
    hosts_max: z.int().min(1).max(1_000_000).default(20_000),
    /** Series, streams and hosts that have been silent for so long are forgotten. */
    forget_after_s: z.int().min(600).max(31_536_000).default(86_400),
  })
  .superRefine((config, context) => {
    const names = new Set<string>();
    config.rules.forEach(({ name }, index) => {
      const path = ["rules", index, "name"];
      if (names.has(name)) context.addIssue({ code: "custom", path, message: `${name} is given twice` });
      if (config.disabled_rules.includes(name))
        context.addIssue({ code: "custom", path, message: `${name} is disabled and given` });
      names.add(name);
    });
    config.disabled_rules.forEach((name, index) => {
      if (!DEFAULT_RULES.some((rule) => rule.name === name))
        context.addIssue({ code: "custom", path: ["disabled_rules", index], message: `no default rule ${name}` });
    });
  });
export type DetectorsConfig = z.infer<typeof DetectorsConfig>;

/** What is watched: the default rules that were neither disabled nor replaced, then the configured ones. */
export const rulesOf = (config: DetectorsConfig): readonly Rule[] => {
  const isReplaced = (name: string) => config.rules.some((rule) => rule.name === name);
  return [
    ...DEFAULT_RULES.filter(({ name }) => !config.disabled_rules.includes(name) && !isReplaced(name)),
    ...config.rules,
  ];
};
