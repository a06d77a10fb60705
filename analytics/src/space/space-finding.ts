import { createHash } from "node:crypto";
import type { Finding } from "@homeostat/schemas";
import type { Reclaim, StoredDay } from "./plan-reclaim.ts";

export interface Episode {
  readonly host: string;
  readonly path: string;
  readonly startedAtUnixMs: number;
  readonly detectedAtUnixMs: number;
  readonly minFreeShare: number;
}

const DROPS_SHOWN_MAX = 8;

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

const dropped = (drops: readonly StoredDay[]): string => {
  const shown = drops
    .slice(0, DROPS_SHOWN_MAX)
    .map(({ table_name, day, bytes }) => `${table_name} of ${day} (${megabytes(bytes)})`);
  const more = drops.length > shown.length ? ` and ${drops.length - shown.length} more` : "";
  return drops.length === 0 ? "there was no day that could be dropped" : `dropped ${shown.join(", ")}${more}`;
};

const whatWasDone = ({ outcome, drops }: Reclaim): string => {
  if (outcome === "enough") return "there is room again";
  if (outcome === "elsewhere")
    return "other files fill it: dropping every old day of telemetry would not make room, so none was dropped";
  if (outcome === "reclaims" && drops.length === 0) return "what was dropped or merged is being removed";
  return dropped(drops);
};

const whatHappened = (reclaim: Reclaim): string =>
  `${whatWasDone(reclaim)}${reclaim.isStopped ? "; telemetry is not inserted and waits on the bus" : ""}`;

/** Firing while the disk is short or a day was just dropped for it. */
export const spaceFinding = (episode: Episode, reclaim: Reclaim): Finding => {
  const { host, path, startedAtUnixMs, detectedAtUnixMs, minFreeShare } = episode;
  const key = `space_reclaimed/${host}/${path}/${startedAtUnixMs}`;
  return {
    finding_id: createHash("sha256").update(key).digest("hex").slice(0, 32),
    detector: "space",
    rule: "space_reclaimed",
    state: reclaim.outcome === "enough" ? "resolved" : "firing",
    severity: reclaim.isStopped ? "critical" : "warning",
    category: "data_health",
    entity: { host, path },
    started_at_unix_ms: startedAtUnixMs,
    detected_at_unix_ms: detectedAtUnixMs,
    value: reclaim.freeShare,
    unit: "1",
    expected: { low: minFreeShare, high: null },
    summary: `The store's disk ${path} has ${percent(reclaim.freeShare)} free (wanted: ${percent(minFreeShare)}): ${whatHappened(reclaim)}.`,
    labels: {},
    evidence: [],
  };
};
