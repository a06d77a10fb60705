import { type ScoredMetric, sureOf } from "./change-score.ts";
import type { Clue } from "./incident.ts";

/** Less of a resource is what a service uses when nobody asks it: a consequence more often than a cause. */
const DECREASE_LEFT = 0.25;

interface Peak {
  z: number;
  shift: number;
  /** The greatest level that any peer has in normal times. */
  level: number;
}

const peaks = (metrics: readonly ScoredMetric[]): ReadonlyMap<string, Peak> => {
  const byKind = new Map<string, Peak>();
  for (const { kind, z, shift, normal } of metrics) {
    const peak = byKind.get(kind) ?? { z: 0, shift: 0, level: 0 };
    byKind.set(kind, {
      z: Math.max(peak.z, z),
      shift: Math.max(peak.shift, Math.abs(shift)),
      level: Math.max(peak.level, Math.abs(normal)),
    });
  }
  return byKind;
};

const signed = (value: number): string => `${value < 0 ? "" : "+"}${value.toPrecision(3)}`;

export const metricReason = ({ kind, normal, shift, z }: ScoredMetric): string =>
  `${kind} moved by ${signed(shift)} from ${normal.toPrecision(3)}, ${z > 1000 ? "more than 1000" : z.toFixed(1)} times its usual spread`;

/**
 * A metric of the service's own machine. Peers share the unit, so that the change itself is compared too, not only its rarity: with the greatest
 * change, and with the level at which the busiest peer runs every day.
 */
export const resourceClues = (metrics: readonly ScoredMetric[]): readonly Clue[] => {
  const local = metrics.filter(({ family }) => family === "resource" || family === "other");
  const byKind = peaks(local);
  return local.flatMap((metric) => {
    const { service, kind, z, shift } = metric;
    const peak = byKind.get(kind);
    if (peak === undefined || !(z > 0)) return [];
    const size = Math.abs(shift);
    const share = Math.sqrt((z / peak.z) * (size / peak.shift));
    const weight = Math.sqrt(Math.min(1, size / peak.level));
    const factor = shift < 0 ? DECREASE_LEFT : 1;
    return [
      {
        source: "resource" as const,
        service,
        strength: share * weight * sureOf(z) * factor,
        reason: metricReason(metric),
      },
    ];
  });
};
