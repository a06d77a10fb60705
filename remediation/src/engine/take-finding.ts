import { incidentFor } from "../incident/group.ts";
import { attachFinding, isKnown, openIncident, unresolvedFindings } from "../incident/incident.ts";
import type { Draft } from "./draft.ts";
import type { Context, HeardFinding } from "./event.ts";

const SEVERITIES = ["info", "warning", "critical"] as const;

export const takeFinding = (draft: Draft, heard: HeardFinding, context: Context): undefined => {
  const { finding, heardAtUnixMs } = heard;
  const all = [...draft.incidents.values()];
  // A closed incident knows what was said before it was closed; said again later it is a fault that nobody holds.
  const isNews = !all.some(
    (incident) => isKnown(incident, finding) && heardAtUnixMs <= (incident.times.closed_at_unix_ms ?? Infinity),
  );
  if (!isNews) return;
  const incident = incidentFor(all, finding);
  if (incident === null) return openFor(draft, heard, context);
  const attached = attachFinding(incident, finding, draft.now);
  const firesAgain =
    incident.state === "resolved" && finding.state === "firing" && unresolvedFindings(attached).length > 0;
  if (firesAgain) draft.moveIncident(attached, "reopened", `${finding.rule} fires again`);
  else draft.saveIncident("finding", attached);
};

const openFor = (draft: Draft, { finding, heardAtUnixMs }: HeardFinding, { config, newId }: Context): undefined => {
  const { severity_min, finding_age_max_ms, open_max } = config.incident;
  const isMild = SEVERITIES.indexOf(finding.severity) < SEVERITIES.indexOf(severity_min);
  if (finding.state !== "firing" || isMild) return;
  if (draft.now - heardAtUnixMs > finding_age_max_ms) return draft.turnAway("finding_too_old");
  let open = 0;
  for (const { state } of draft.incidents.values()) if (state !== "closed") open += 1;
  if (open >= open_max) return draft.turnAway("too_many_incidents");
  draft.saveIncident("opened", openIncident(newId(), finding, draft.now));
};
