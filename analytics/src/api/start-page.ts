import type { Heartbeat, Incident } from "@homeostat/schemas";
import type { Component } from "./api-ports.ts";

export interface StartPage {
  readonly version: string;
  readonly nowUnixMs: number;
  readonly components: readonly Component[];
  /** null: the store did not answer. */
  readonly incidents: readonly Incident[] | null;
  readonly agents: readonly Heartbeat[] | null;
}

const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

/** "12 s", "3 min", "2 h", "5 d" */
const ago = (ms: number): string => {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`;
};

const STYLE = `
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 16%, transparent); --soft: color-mix(in srgb, currentColor 62%, transparent);
  --good: light-dark(#197a43, #58c98a); --warn: light-dark(#9a6300, #e8b64c); --bad: light-dark(#b3261e, #ff8a80); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 2rem 1rem 4rem; background: light-dark(#fcfcfb, #16181b); color: light-dark(#1c1e21, #e6e6e3); }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2.2rem 0 .5rem; } p { margin: .3rem 0; color: var(--soft); }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: .4rem .8rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; } td.time { white-space: nowrap; }
a { color: inherit; } code { font: .9em ui-monospace, monospace; } ul { padding-left: 1.2rem; } li { margin: .2rem 0; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); } .tag::before { content: "● "; }
.scroll { overflow-x: auto; }
`;

const TONES: Readonly<Record<string, string>> = {
  ok: "good",
  online: "good",
  resolved: "good",
  closed: "good",
  failing: "bad",
  critical: "bad",
  offline: "bad",
  escalated: "bad",
  quarantined: "bad",
};

const tag = (word: string): string => `<span class="tag ${TONES[word] ?? "warn"}">${escapeHtml(word)}</span>`;

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  `<div class="scroll"><table><thead><tr>${head.map((cell) => `<th scope="col">${cell}</th>`).join("")}</tr></thead><tbody>${rows
    .map((row) => `<tr>${row.map((cell) => `<td>${cell}</td>`).join("")}</tr>`)
    .join("")}</tbody></table></div>`;

const incidentsTable = (incidents: readonly Incident[], nowUnixMs: number): string =>
  table(
    ["incident", "severity", "state", "where", "opened"],
    incidents.map(({ incident_id, title, severity, state, entity, times }) => {
      const path = `/api/v1/incidents/${encodeURIComponent(incident_id)}`;
      return [
        `${escapeHtml(title)}<br><a href="${path}/report?format=html">report</a> · <a href="${path}">JSON</a>`,
        tag(severity),
        tag(state),
        escapeHtml([entity.host, entity.service, entity.path].filter(Boolean).join(" · ")),
        `${ago(nowUnixMs - times.opened_at_unix_ms)} ago`,
      ];
    }),
  );

const ENDED: ReadonlySet<string> = new Set(["resolved", "closed"]);
const ENDED_SHOWN = 10;

const incidentsPart = ({ incidents, nowUnixMs }: StartPage): string => {
  if (incidents === null) return "<h2>Incidents</h2><p>The store does not answer.</p>";
  const open = incidents.filter(({ state }) => !ENDED.has(state));
  const ended = incidents.filter(({ state }) => ENDED.has(state)).slice(0, ENDED_SHOWN);
  return [
    `<h2>Open incidents</h2>${open.length === 0 ? "<p>None. All is in balance.</p>" : incidentsTable(open, nowUnixMs)}`,
    ended.length === 0 ? "" : `<h2>Lately resolved</h2>${incidentsTable(ended, nowUnixMs)}`,
  ].join("");
};

const agentsPart = ({ agents, nowUnixMs }: StartPage): string => {
  if (agents === null) return "";
  if (agents.length === 0) return "<h2>Agents</h2><p>No heartbeat yet.</p>";
  const rows = agents.map(({ host, state, agent_version, at_unix_ms, ledger, problems }) => [
    escapeHtml(host),
    tag(state) + problems.map((problem) => `<br>${escapeHtml(problem)}`).join(""),
    escapeHtml(agent_version),
    `${ago(nowUnixMs - at_unix_ms)} ago`,
    `${ledger.delivered.toLocaleString("en")} delivered, ${ledger.spooled.toLocaleString("en")} spooled`,
  ]);
  return `<h2>Agents</h2>${table(["host", "state", "version", "heard", "records"], rows)}`;
};

const componentsPart = (components: readonly Component[]): string =>
  `<h2>Parts</h2>${table(
    ["part", "state", "detail"],
    components.map(({ name, state, detail }) => [escapeHtml(name), tag(state), escapeHtml(detail)]),
  )}`;

const LINKS = `<h2>API</h2><ul>
<li><a href="/api/v1/openapi.json">openapi.json</a>: every route, generated from the schemas</li>
<li><a href="/api/v1/health">health</a>, <a href="/api/v1/incidents">incidents</a>, <a href="/api/v1/agents">agents</a>, <a href="/api/v1/ledger">ledger</a></li>
<li><a href="/api/v1/metrics">metrics</a>, <a href="/api/v1/metrics/query?metric_name=system.cpu.utilization&amp;group_by=host.name,state">CPU of the last hour</a>, <a href="/api/v1/logs">logs of the last hour</a></li>
</ul>`;

/** Plain HTML without scripts or anything from elsewhere. */
export const renderStartPage = (page: StartPage): string => `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="10"><title>Homeostat</title><style>${STYLE}</style></head><body>
<h1>Homeostat</h1><p>version ${escapeHtml(page.version)} · ${new Date(page.nowUnixMs).toISOString().slice(0, 19).replace("T", " ")} UTC</p>
${incidentsPart(page)}${agentsPart(page)}${componentsPart(page.components)}${LINKS}
</body></html>
`;
