import { entityKey, type Finding, type Incident } from "@homeostat/schemas";

const isOver = ({ state }: Incident): boolean => state === "closed" || state === "resolved";

const newest = (incidents: readonly Incident[]): Incident | null =>
  incidents.reduce<Incident | null>(
    (best, incident) =>
      best === null || incident.times.opened_at_unix_ms > best.times.opened_at_unix_ms ? incident : best,
    null,
  );

const holds = ({ findings }: Incident, { finding_id }: Finding): boolean =>
  findings.some((known) => known.finding_id === finding_id);

/**
 * The incident that a finding belongs to, or null when it needs one of its own: the one that holds it already, else the newest that is
 * not closed about the same entity; trouble of the observer on a host goes to whatever is going on there.
 */
export const incidentFor = (incidents: readonly Incident[], finding: Finding): Incident | null => {
  const candidates = incidents.filter(({ state }) => state !== "closed");
  const holder = newest(candidates.filter((incident) => holds(incident, finding)));
  if (holder !== null) return holder;
  const key = entityKey(finding.entity);
  const sameEntity = candidates.filter(({ entity }) => entityKey(entity) === key);
  const active = newest(sameEntity.filter((incident) => !isOver(incident)));
  if (active !== null) return active;
  if (finding.category === "data_health") {
    return newest(candidates.filter((incident) => incident.entity.host === finding.entity.host && !isOver(incident)));
  }
  return newest(sameEntity);
};
