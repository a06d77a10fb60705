import { type Finding, Severity } from "@homeostat/schemas";
import { z } from "zod";
import type { Detector } from "../detector.ts";
import {
  announce,
  type Episodes,
  findingId,
  forgetEpisodes,
  isDue,
  openFindings,
  resolve,
  SavedEpisodes,
} from "../episode.ts";
import type { MetricWindow } from "../window.ts";

export const SilenceConfig = z.strictObject({
  detector: z.literal("silence"),
  name: z.string().min(1).max(128),
  for_s: z.number().min(1).max(604_800),
  severity: Severity.default("warning"),
});
export type SilenceConfig = z.infer<typeof SilenceConfig>;

export interface SilenceState {
  episodes: Episodes;
}

const findingOf = (
  { host, lastEvent, seconds, nowUnixMs }: { host: string; lastEvent: number; seconds: number; nowUnixMs: number },
  config: SilenceConfig,
): Finding => {
  const entity = { host: host.slice(0, 255) };
  return {
    finding_id: findingId({ rule: config.name, entity, subject: "", startedUnixMs: lastEvent }),
    detector: "silence",
    rule: config.name,
    state: "firing",
    severity: config.severity,
    category: "data_health",
    entity,
    started_at_unix_ms: lastEvent,
    detected_at_unix_ms: nowUnixMs,
    value: seconds,
    unit: "s",
    expected: { low: null, high: config.for_s },
    summary: `Host ${host} is silent: no current samples for ${seconds} s, expected some within ${config.for_s} s.`,
    labels: {},
    evidence: [
      {
        query: "metric_range",
        params: { metric_name: "system.cpu.utilization", host_name: host },
        from_unix_ms: Math.max(0, lastEvent - 300_000),
        to_unix_ms: Math.max(lastEvent, nowUnixMs),
        summary: "the last samples of the host",
      },
    ],
  };
};

/**
 * Hosts from which nothing of the present comes any more: dead, cut off, or with a clock that is minutes behind.
 * Silence counts by the observer's clock, and only while the observer itself has kept up. Its slots are the hosts'.
 */
export const silence: Detector<SilenceConfig, SilenceState, MetricWindow> = {
  name: "silence",
  version: 1,
  looksAtHosts: true,
  config: SilenceConfig,
  start: () => ({ episodes: new Map() }),

  step(state, { hosts, nowUnixMs, isTick, observingSinceUnixMs }, config) {
    const findings: Finding[] = [];
    if (!isTick || !Number.isFinite(observingSinceUnixMs)) return { state, findings };
    hosts.names.forEach((host, slot) => {
      const currentAt = hosts.currentAt[slot] as number;
      const seconds = Math.floor((nowUnixMs - Math.max(currentAt, observingSinceUnixMs)) / 1000);
      if (seconds < config.for_s) {
        if (nowUnixMs - currentAt < config.for_s * 1000)
          findings.push(...resolve(state.episodes, slot, { summary: `Host ${host} speaks again.`, value: null }));
        return;
      }
      if (!isDue(state.episodes, slot, { severity: config.severity, nowUnixMs })) return;
      const lastEvent = hosts.lastEvent[slot] as number;
      const started = state.episodes.get(slot)?.finding.started_at_unix_ms ?? lastEvent;
      const finding = findingOf({ host, lastEvent: started, seconds, nowUnixMs }, config);
      findings.push(announce(state.episodes, slot, finding, nowUnixMs));
    });
    return { state, findings };
  },

  forget(state, kept) {
    const { episodes, findings } = forgetEpisodes(state.episodes, kept);
    return { state: { episodes }, findings };
  },

  save: ({ episodes }) => ({ json: [...episodes], columns: {}, open: openFindings(episodes) }),

  load: (saved) => ({ episodes: new Map(SavedEpisodes.parse(saved.json)) }),
};
