import { Finding, Severity } from "@homeostat/schemas";
import { z } from "zod";
import { growColumns } from "../columns.ts";
import type { Detector } from "../detector.ts";
import { announce, clip, FRESH_MS, findingId, isDue, resolve } from "../episode.ts";
import { entityOf, findingLabels, metricEvidence, Selector, type Series, titleFor } from "../series.ts";
import { type SubjectState, subjectState } from "../subject-state.ts";
import type { MetricWindow } from "../window.ts";

export const AbsenceConfig = z.strictObject({
  detector: z.literal("absence"),
  name: z.string().min(1).max(128),
  title: z.string().min(1).max(200),
  ...Selector,
  for_s: z.number().min(1).max(604_800),
  severity: Severity.default("warning"),
  category: Finding.shape.category.default("symptom"),
});
export type AbsenceConfig = z.infer<typeof AbsenceConfig>;

const LAYOUT = { last: { fill: Number.NaN } } as const;

export type AbsenceState = SubjectState<typeof LAYOUT>;

/** How far the host has gone on without the series, in ms of the host's own clock; a pause of the host proves nothing about the series. */
const silentMs = (last: number, series: Series, { hosts }: MetricWindow): number => {
  const host = hosts.slotOf.get(series.host);
  if (host === undefined) return 0;
  return (hosts.lastEvent[host] as number) - Math.max(last, hosts.speakingSince[host] as number);
};

const findingOf = (
  { series, last, silenceMs, nowUnixMs }: { series: Series; last: number; silenceMs: number; nowUnixMs: number },
  config: AbsenceConfig,
): Finding => {
  const entity = entityOf(series);
  const seconds = Math.round(silenceMs / 1000);
  const summary = clip(
    `${titleFor(config.title, series)} on ${series.host}: no sample of ${series.metric} for ${seconds} s while the host speaks, expected one every ${config.for_s} s.`,
    1000,
  );
  return {
    finding_id: findingId({ rule: config.name, entity, subject: series.fingerprint, startedUnixMs: last }),
    detector: "absence",
    rule: config.name,
    state: "firing",
    severity: config.severity,
    category: config.category,
    entity,
    started_at_unix_ms: last,
    detected_at_unix_ms: nowUnixMs,
    value: seconds,
    unit: "s",
    expected: { low: null, high: config.for_s },
    summary,
    labels: findingLabels(series),
    evidence: [
      metricEvidence(series, {
        startedUnixMs: last,
        toUnixMs: last + silenceMs,
        summary: titleFor(config.title, series),
      }),
    ],
  };
};

/** A series that went silent while its host still speaks. Judged at ticks; a host that is wholly silent is `silence`'s affair. */
export const absence: Detector<AbsenceConfig, AbsenceState, MetricWindow> = {
  name: "absence",
  version: 1,
  looksAtHosts: true,
  config: AbsenceConfig,
  ...subjectState(LAYOUT),

  step(state, window, config) {
    growColumns(state.columns, LAYOUT, window.series.length);
    const findings: Finding[] = [];
    const { last } = state.columns.at;
    for (let row = 0; row < window.count; row++) {
      const slot = window.slots[row] as number;
      const time = window.times[row] as number;
      if (time <= (last[slot] as number)) continue;
      last[slot] = time;
      const summary = `${window.series[slot]?.metric} is back on ${window.series[slot]?.host}.`;
      findings.push(...resolve(state.episodes, slot, { summary, value: null }));
    }
    if (!window.isTick || !Number.isFinite(window.observingSinceUnixMs)) return { state, findings };
    window.series.forEach((series, slot) => {
      const lastTime = last[slot] as number;
      const silenceMs = silentMs(lastTime, series, window);
      const isSilent = silenceMs >= config.for_s * 1000 && lastTime + silenceMs >= window.nowUnixMs - FRESH_MS;
      if (!isSilent || !isDue(state.episodes, slot, { severity: config.severity, nowUnixMs: window.nowUnixMs })) return;
      const finding = findingOf({ series, last: lastTime, silenceMs, nowUnixMs: window.nowUnixMs }, config);
      findings.push(announce(state.episodes, slot, finding, window.nowUnixMs));
    });
    return { state, findings };
  },
};
