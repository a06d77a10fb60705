import { incidentById, logSearch, metricRange, runsByIncident, type Store } from "@homeostat/analytics";
import {
  buildReport,
  EVIDENCE_LINES_MAX,
  EVIDENCE_POINTS_MAX,
  EVIDENCE_SERIES_MAX,
  type EvidenceAnswer,
  evidenceOf,
  renderHtml,
  renderMarkdown,
  type Suspect,
} from "@homeostat/remediation";
import type { Evidence, Incident } from "@homeostat/schemas";
import { findSuspects } from "./suspects.ts";

export type ReportFormat = "json" | "markdown" | "html";

/** Points that a plot can show apart. */
const POINTS_WANTED = 300;
const STEP_MS_MIN = 1000;

type Ask = (evidence: Evidence, store: Store) => Promise<EvidenceAnswer>;

const range = ({ from_unix_ms, to_unix_ms }: Evidence) => ({
  from_unix_ms,
  to_unix_ms: Math.max(to_unix_ms, from_unix_ms + 1),
});

const askMetric: Ask = async (evidence, store) => {
  const { from_unix_ms, to_unix_ms } = range(evidence);
  const step_ms = Math.max(
    STEP_MS_MIN,
    Math.ceil((to_unix_ms - from_unix_ms) / POINTS_WANTED / STEP_MS_MIN) * STEP_MS_MIN,
  );
  const params = metricRange.params.safeParse({ ...evidence.params, from_unix_ms, to_unix_ms, step_ms });
  if (!params.success) return failed(params.error.message);
  const rows = await store.run(metricRange, { ...evidence.params, from_unix_ms, to_unix_ms, step_ms } as never);
  const series = new Map<string, EvidenceAnswer["series"][number]>();
  for (const { labels, unit, at_unix_ms, value } of rows) {
    const name = Object.entries(labels)
      .map(([label, text]) => `${label}=${text}`)
      .join(" ");
    const one = series.get(name) ?? {
      name: `${evidence.params.metric_name} ${name}`.slice(0, 500),
      unit,
      points: [],
    };
    one.points.push([at_unix_ms, value]);
    series.set(name, one);
  }
  const shown = [...series.values()].slice(0, EVIDENCE_SERIES_MAX);
  return {
    series: shown.map((one) => ({ ...one, points: one.points.slice(-EVIDENCE_POINTS_MAX) })),
    lines: [],
    error: null,
  };
};

const askLogs: Ask = async (evidence, store) => {
  const rows = await store.run(logSearch, {
    ...evidence.params,
    ...range(evidence),
    limit: EVIDENCE_LINES_MAX,
  } as never);
  const lines = rows.map(({ time_unix_nano, body }) => ({
    at_unix_ms: Math.floor(Number(time_unix_nano) / 1e6),
    text: body,
  }));
  return { series: [], lines: lines.reverse(), error: null };
};

const ASKS: Readonly<Record<string, Ask>> = { metric_range: askMetric, log_search: askLogs };

const failed = (error: string): EvidenceAnswer => ({ series: [], lines: [], error: error.slice(0, 2000) });

/** Asks again what the findings saw. What cannot be had says why: a report with a gap is better than none. */
const answer = async (evidence: Evidence, store: Store): Promise<EvidenceAnswer> => {
  const ask = ASKS[evidence.query];
  if (ask === undefined) return failed(`nobody answers the query ${evidence.query}`);
  try {
    return await ask(evidence, store);
  } catch (error) {
    return failed(error instanceof Error ? error.message : String(error));
  }
};

/** A report without suspects is better than none. */
const suspectsOf = async (
  store: Store,
  incident: Incident,
): Promise<{ readonly suspects: readonly Suspect[]; readonly suspectsMissing: string | null }> => {
  try {
    return { suspects: await findSuspects(store, incident), suspectsMissing: null };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { suspects: [], suspectsMissing: `Could not be looked at: ${reason}`.slice(0, 2000) };
  }
};

/** The root-cause report of an incident, or null when there is no such incident. */
export const createReports =
  (store: () => Store) =>
  async (incidentId: string, format: ReportFormat): Promise<string | null> => {
    const [found] = await store().run(incidentById, { incident_id: incidentId });
    if (found === undefined) return null;
    const { incident } = found.record;
    const runs = (await store().run(runsByIncident, { incident_id: incidentId })).map(({ record }) => record.run);
    const evidence = await Promise.all(evidenceOf(incident).map((one) => answer(one.evidence, store())));
    const report = buildReport({ incident, runs, evidence, ...(await suspectsOf(store(), incident)) });
    if (format === "json") return JSON.stringify(report);
    return format === "html" ? renderHtml(report) : renderMarkdown(report);
  };
