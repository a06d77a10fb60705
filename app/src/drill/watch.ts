import { setTimeout as delay } from "node:timers/promises";
import { CommandResult, Incident, RemediationRun } from "@homeostat/schemas";
import { z } from "zod";
import type { ApiClient } from "../cli/client.ts";

/** One link of the chain: what happened, when by the platform's own records, and a sentence. */
export interface Link {
  readonly name: string;
  readonly atUnixMs: number;
  readonly text: string;
}

export interface Chain {
  readonly incident: Incident | null;
  readonly runs: readonly RemediationRun[];
  readonly results: readonly CommandResult[];
  readonly links: readonly Link[];
}

const IncidentList = z.object({ incidents: z.array(Incident) });
const IncidentDetail = z.object({
  incident: Incident,
  runs: z.array(RemediationRun),
  results: z.array(CommandResult),
});

const runLinks = (run: RemediationRun, results: readonly CommandResult[]): readonly (Link | null)[] => {
  const commands = new Set(run.plan?.steps.map((step) => step.idempotency_key));
  const command = results.find((result) => commands.has(result.command_id));
  const { proposed_at_unix_ms: proposed, started_at_unix_ms: started, ended_at_unix_ms: ended } = run.times;
  const failedGuards = run.guards.filter((guard) => !guard.passed);
  return [
    run.plan && { name: "plan", atUnixMs: proposed, text: `${run.runbook}: ${run.plan.summary}` },
    run.guards.length > 0 && {
      name: "guard",
      atUnixMs: started ?? proposed,
      text:
        failedGuards.length === 0
          ? `${run.guards.length} guards passed: ${run.guards.map((guard) => guard.guard).join(", ")}`
          : failedGuards.map((guard) => `${guard.guard}: ${guard.reason}`).join("; "),
    },
    command?.ended_at_unix_ms && {
      name: "command",
      atUnixMs: command.ended_at_unix_ms,
      text: `${command.executor} on ${command.host}: ${command.state} ${command.message}`.trim(),
    },
    ended !== null && {
      name: "verified",
      atUnixMs: ended,
      text: `${run.state}, ${run.verdict ?? "no verdict"}: ${run.reason}`,
    },
  ].map((link) => link || null);
};

const chainLinks = (
  incident: Incident,
  runs: readonly RemediationRun[],
  results: readonly CommandResult[],
): readonly Link[] => {
  const finding = incident.findings[0];
  const isResolved = incident.state === "resolved" || incident.state === "closed";
  const links: (Link | null)[] = [
    finding === undefined
      ? null
      : { name: "detected", atUnixMs: incident.times.detected_at_unix_ms, text: `${finding.rule}: ${finding.summary}` },
    { name: "incident", atUnixMs: incident.times.opened_at_unix_ms, text: incident.title },
    ...runs.flatMap((run) => runLinks(run, results)),
    isResolved
      ? {
          name: "resolved",
          atUnixMs: incident.state_since_unix_ms,
          text: `incident ${incident.incident_id} is ${incident.state}`,
        }
      : null,
  ];
  return links.filter((link) => link !== null);
};

/** The incidents that began after `sinceUnixMs`, oldest first. */
export const incidentsSince = async (api: ApiClient, sinceUnixMs: number): Promise<readonly Incident[]> => {
  const { incidents } = await api.get("/api/v1/incidents?limit=100", IncidentList);
  return incidents
    .filter((incident) => incident.times.detected_at_unix_ms >= sinceUnixMs)
    .sort((a, b) => a.times.detected_at_unix_ms - b.times.detected_at_unix_ms);
};

export const readChain = async (api: ApiClient, incidentId: string): Promise<Chain> => {
  const detail = await api.get(`/api/v1/incidents/${encodeURIComponent(incidentId)}`, IncidentDetail);
  return { ...detail, links: chainLinks(detail.incident, detail.runs, detail.results) };
};

const POLL_MS = 150;
const ENDED = new Set(["resolved", "closed", "escalated"]);

/**
 * Follows the first incident after the injection until it has ended; each link is told once, as it appears.
 * Resolves with what was seen when `timeoutMs` is over too.
 */
export const watchChain = async (
  api: ApiClient,
  { sinceUnixMs, timeoutMs, onLink }: { sinceUnixMs: number; timeoutMs: number; onLink: (link: Link) => void },
): Promise<Chain> => {
  const told = new Set<string>();
  const deadline = Date.now() + timeoutMs;
  let chain: Chain = { incident: null, runs: [], results: [], links: [] };
  while (Date.now() < deadline) {
    const incident = (await incidentsSince(api, sinceUnixMs))[0];
    if (incident !== undefined) chain = await readChain(api, incident.incident_id);
    for (const link of chain.links) {
      const key = `${link.name} ${link.atUnixMs}`;
      if (!told.has(key)) onLink(link);
      told.add(key);
    }
    // Incidents and runs are projected apart: the one may be readable a moment before the other.
    const isOver = chain.incident !== null && ENDED.has(chain.incident.state);
    if (isOver && chain.runs.every(({ times }) => times.ended_at_unix_ms !== null)) return chain;
    await delay(POLL_MS);
  }
  return chain;
};
