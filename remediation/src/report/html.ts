import { duration } from "./duration.ts";
import { Html, html } from "./html-text.ts";
import { plotSeries, plotTimeline } from "./plot.ts";
import type { Hypothesis, Report, ReportAction, ReportEvidence, Suspect } from "./report.ts";

const STYLE = new Html(`
:root { color-scheme: light dark; --ink: #1d2330; --soft: #5d6678; --paper: #fff; --card: #f5f6f9; --rule: #dfe3ea; --bad: #c2393d; --warn: #b7791f; --good: #23845a; --accent: #3a62c4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9f0; --soft: #98a2b5; --paper: #14171e; --card: #1c212b; --rule: #2d3441; --bad: #ef7478; --warn: #e0ad55; --good: #5cc596; --accent: #86a6f5; } }
* { box-sizing: border-box; } body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.55 system-ui, sans-serif; }
main { max-width: 860px; margin: 0 auto; padding: 32px 20px 64px; } h1 { font-size: 26px; line-height: 1.25; margin: 0 0 8px; } h2 { font-size: 17px; margin: 36px 0 10px; }
p { margin: 6px 0; } .soft { color: var(--soft); } .lead { font-size: 17px; } code, pre, time { font-family: ui-monospace, monospace; font-size: 13px; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: 14px 16px; margin: 10px 0; } .cause { border-left: 4px solid var(--accent); }
.badge { display: inline-block; border: 1px solid currentColor; border-radius: 99px; padding: 0 9px; font-size: 12px; margin-right: 6px; }
.critical, .failed, .escalated, .held, .unknown { color: var(--bad); } .warning, .suppressed, .inconclusive { color: var(--warn); } .resolved, .closed, .succeeded, .passed, .healed { color: var(--good); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; } .figures b { display: block; font-size: 22px; }
pre { overflow-x: auto; background: var(--paper); border: 1px solid var(--rule); border-radius: 6px; padding: 10px; white-space: pre-wrap; overflow-wrap: anywhere; } ul, ol { padding-left: 22px; margin: 6px 0; } li { margin: 3px 0; overflow-wrap: anywhere; }
.meter { height: 6px; background: var(--rule); border-radius: 3px; margin: 6px 0; } .meter > i { display: block; height: 6px; border-radius: 3px; background: var(--accent); }
figure { margin: 10px 0; } figcaption { color: var(--soft); font-size: 12px; } svg { width: 100%; height: auto; } .tick { fill: var(--soft); font-size: 11px; } .axis { stroke: var(--rule); }
.series { fill: none; stroke-width: 1.6; stroke: var(--accent); } .s1 { stroke: var(--good); } .s2 { stroke: var(--warn); } .s3 { stroke: var(--bad); } .mark { stroke: var(--soft); stroke-dasharray: 3 3; } .mark.detected { stroke: var(--bad); } .mark.recovered { stroke: var(--good); }
.undetected { fill: var(--bad); } .unexplained { fill: var(--warn); } .healing { fill: var(--good); } .event { fill: var(--paper); stroke: var(--ink); stroke-width: 1.5; }
.timeline { list-style: none; padding: 0; } .timeline li { display: grid; grid-template-columns: 110px 96px 1fr; gap: 8px; border-bottom: 1px solid var(--rule); padding: 5px 0; }
`);

const clock = (unixMs: number): string => new Date(unixMs).toISOString().slice(11, 23);
const moment = (unixMs: number): string => new Date(unixMs).toISOString();
const words = (name: string): string => name.replaceAll("_", " ");

const figure = (name: string, ms: number | null): Html =>
  html`<div class="card"><span class="soft">${name}</span><b>${ms === null ? "not yet" : duration(ms)}</b></div>`;

const items = (texts: readonly string[], prefix = ""): Html | null =>
  texts.length === 0 ? null : html`<ul>${texts.map((text) => html`<li>${prefix}${text}</li>`)}</ul>`;

const hypothesis = ({ name, statement, score, for: pro, against, why_not }: Hypothesis): Html =>
  html`<div class="card${why_not === null ? " cause" : ""}"><b>${words(name)}</b> <span class="soft">${score.toFixed(2)}${why_not === null ? ", held" : ""}</span>
  <div class="meter"><i style="width:${Math.round(score * 100)}%"></i></div><p>${statement}</p>${items(pro, "for: ")}${items(against, "against: ")}${why_not === null ? null : html`<p class="soft">Why not: ${why_not}</p>`}</div>`;

const suspect = ({ name, score, reasons, why_not }: Suspect): Html =>
  html`<div class="card"><b>${name}</b> <span class="soft">${score.toFixed(2)}</span>
  <div class="meter"><i style="width:${Math.round(score * 100)}%"></i></div>${items(reasons)}${why_not === null ? null : html`<p class="soft">Why not: ${why_not}</p>`}</div>`;

const action = (one: ReportAction): Html =>
  html`<div class="card"><b>${one.runbook}</b> <span class="badge ${one.state}">${words(one.state)}</span><span class="soft">${one.autonomy}${one.verdict === null ? "" : `, verified: ${one.verdict}`}</span>
  ${one.plan === null ? null : html`<p>${one.plan}</p>`}<p>${one.reason}</p>${one.decided_by === null ? null : html`<p>Decided by ${one.decided_by}</p>`}
  <ul>${one.steps.map(({ summary, outcome }) => html`<li>${summary}: <span class="${outcome?.status ?? ""}">${outcome === null ? "not done" : `${outcome.status} ${outcome.message}`}</span></li>`)}</ul>
  <details><summary class="soft">${one.guards.length} guards</summary><ul>${one.guards.map(({ guard, passed, reason }) => html`<li><span class="${passed ? "passed" : "held"}">${passed ? "passed" : "held"}</span> ${words(guard)}: ${reason}</li>`)}</ul></details></div>`;

const evidence = ({ rule, evidence: one, answer }: ReportEvidence, report: Report): Html => {
  const marks = [
    { at: report.times.detected_at_unix_ms, name: "detected" },
    ...(report.times.recovered_at_unix_ms === null
      ? []
      : [{ at: report.times.recovered_at_unix_ms, name: "recovered" }]),
  ];
  const params = Object.entries(one.params).map(([name, value]) => `${name}=${value}`);
  return html`<div class="card"><b>${rule}</b><p>${one.summary}</p>
  ${answer === null ? null : plotSeries(answer.series, marks)}
  ${answer === null || answer.lines.length === 0 ? null : html`<pre>${answer.lines.map(({ at_unix_ms, text }) => `${clock(at_unix_ms)} ${text.slice(0, 2000)}`).join("\n")}</pre>`}
  ${answer?.error == null ? null : html`<p class="held">Could not be had: ${answer.error}</p>`}
  <p class="soft"><code>${one.query} ${params.join(" ")}</code><br>${moment(one.from_unix_ms)} to ${moment(one.to_unix_ms)}</p></div>`;
};

/** One file that needs nothing else, and may load nothing else. */
export const renderHtml = (report: Report): string =>
  html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${report.title}</title><style>${STYLE}</style></head><body><main>
<p><span class="badge ${report.severity}">${report.severity}</span><span class="badge ${report.state}">${report.state}</span><code class="soft">${report.incident_id}</code></p>
<h1>${report.title}</h1><p class="lead">${report.summary}</p>
<div class="figures">${figure("to detect", report.times.detect_ms)}${figure("to explain", report.times.explain_ms)}${figure("to recover", report.times.recover_ms)}</div>
${plotTimeline(report)}
<h2>Root cause</h2><div class="card cause"><p><b>${report.root_cause.statement}</b></p><p class="soft">Confidence: ${report.root_cause.confidence}</p></div>
<p><b>Critical failure</b>: ${report.critical_failure}</p><p><b>Impact</b>: ${report.impact}</p>
<h2>What was done</h2>${report.actions.length === 0 ? html`<p class="soft">Nothing.</p>` : report.actions.map(action)}
<h2>What to do next</h2>${items(report.next) ?? html`<p class="soft">Nothing.</p>`}
<h2>Hypotheses</h2>${report.hypotheses.map(hypothesis)}
<h2>Where it may have begun</h2>${report.suspects.length === 0 ? html`<p class="soft">${report.suspects_missing ?? "Nothing around its beginning stands out."}</p>` : report.suspects.map(suspect)}
<h2>Evidence</h2>${report.evidence.length === 0 ? html`<p class="soft">None was given.</p>` : report.evidence.map((one) => evidence(one, report))}
<h2>Timeline</h2><ul class="timeline">${report.timeline.map(({ at_unix_ms, kind, text }) => html`<li><time>${clock(at_unix_ms)}</time><span class="soft">${kind}</span><span>${text}</span></li>`)}</ul>
</main></body></html>
`.markup;
