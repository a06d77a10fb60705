import { createHash } from "node:crypto";
import { type Entity, entityKey, Finding } from "@homeostat/schemas";
import { z } from "zod";

/** A firing finding is told again this often, so that a reader who lost it hears of it. */
export const REFRESH_MS = 60_000;

/** Samples older than this do not announce anything: a replay or a backlog is not today's fault. */
export const FRESH_MS = 300_000;

/** A firing subject that has been silent for this long is told once as `no_data`. */
export const NO_DATA_MS = 60_000;

/** The same for one rule, one subject and one beginning, on whatever machine and however often it is computed. */
export const findingId = (episode: {
  readonly rule: string;
  readonly entity: Entity;
  /** What tells two subjects of one entity apart: a series' fingerprint, a template's id. */
  readonly subject: string;
  readonly startedUnixMs: number;
}): string => {
  const parts = [episode.rule, entityKey(episode.entity), episode.subject, episode.startedUnixMs];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 32);
};

const Episode = z.strictObject({ finding: Finding, published_at_unix_ms: z.number() });
type Episode = z.infer<typeof Episode>;

/** What has been announced and not yet taken back, by slot. */
export type Episodes = Map<number, Episode>;

/** Whether a firing subject has something new to tell: ask before composing a finding. */
export const isDue = (
  episodes: Episodes,
  slot: number,
  { severity, nowUnixMs }: { readonly severity: Finding["severity"]; readonly nowUnixMs: number },
): boolean => {
  const known = episodes.get(slot);
  if (known === undefined) return true;
  const { finding, published_at_unix_ms } = known;
  return finding.state !== "firing" || finding.severity !== severity || nowUnixMs - published_at_unix_ms >= REFRESH_MS;
};

/** The finding as it is to be published: it keeps the moment at which it was first detected. */
export const announce = (episodes: Episodes, slot: number, finding: Finding, nowUnixMs: number): Finding => {
  const known = episodes.get(slot);
  const same = known?.finding.finding_id === finding.finding_id ? known.finding : null;
  const told = { ...finding, detected_at_unix_ms: same?.detected_at_unix_ms ?? finding.detected_at_unix_ms };
  episodes.set(slot, { finding: told, published_at_unix_ms: nowUnixMs });
  return told;
};

/** Ends an episode; nothing when it was never announced. */
export const resolve = (
  episodes: Episodes,
  slot: number,
  { summary, value }: { readonly summary: string; readonly value?: number | null },
): readonly Finding[] => {
  const known = episodes.get(slot);
  if (known === undefined) return [];
  episodes.delete(slot);
  return [resolved(known.finding, { summary, value: value === undefined ? known.finding.value : value })];
};

export const resolved = (
  finding: Finding,
  { summary, value = finding.value }: { readonly summary: string; readonly value?: number | null },
): Finding => ({ ...finding, state: "resolved", value, summary: clip(summary, 1000) });

export const tellNoData = (episodes: Episodes, slot: number, nowUnixMs: number): readonly Finding[] => {
  const known = episodes.get(slot);
  if (known === undefined || known.finding.state === "no_data") return [];
  const summary = clip(`No data any more; last known: ${known.finding.summary}`, 1000);
  const finding: Finding = { ...known.finding, state: "no_data", summary };
  episodes.set(slot, { finding, published_at_unix_ms: nowUnixMs });
  return [finding];
};

/** Renumbers by `kept`; the episodes of other slots end. */
export const forgetEpisodes = (
  episodes: Episodes,
  kept: Uint32Array,
): { readonly episodes: Episodes; readonly findings: readonly Finding[] } => {
  const left = new Map(episodes);
  const renumbered: Episodes = new Map();
  kept.forEach((slot, index) => {
    const episode = left.get(slot);
    if (episode !== undefined) renumbered.set(index, episode);
    left.delete(slot);
  });
  const findings = [...left.values()].map(({ finding }) =>
    resolved(finding, { summary: `Forgotten after a long silence; last known: ${finding.summary}` }),
  );
  return { episodes: renumbered, findings };
};

export const SavedEpisodes = z.array(z.tuple([z.int().min(0), Episode]));

export const openFindings = (episodes: Episodes): readonly Finding[] =>
  [...episodes.values()].map(({ finding }) => finding);

export const clip = (text: string, lengthMax: number): string =>
  text.length <= lengthMax ? text : `${text.slice(0, lengthMax - 1).toWellFormed()}…`;
