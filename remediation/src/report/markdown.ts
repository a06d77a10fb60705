import { duration } from "./duration.ts";
import type { Report, ReportAction, ReportEvidence } from "./report.ts";
import { oneLine, printable } from "./safe-text.ts";

/**
 * Every character that CommonMark and its tables could read as markup within running text, and what begins a block at its start
 * (https://spec.commonmark.org/0.31.2/#backslash-escapes).
 */
const text = (value: string): string =>
  oneLine(value)
    .replace(/[\\`*_[\]<>|~&]/g, "\\$&")
    .replace(/^(\s*\d{0,9})([-=+#.)])/, "$1\\$2");

const clock = (unixMs: number): string => new Date(unixMs).toISOString().slice(11, 23);
const moment = (unixMs: number): string => new Date(unixMs).toISOString();

/** A fence longer than any run of backticks within. */
const fenced = (lines: readonly string[]): string => {
  const body = lines.map((line) => oneLine(line)).join("\n");
  const longest = Math.max(2, ...[...body.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = "`".repeat(longest + 1);
  return `${fence}text\n${printable(body)}\n${fence}`;
};

const timesTable = ({ times }: Report): string => {
  const row = (name: string, at: number | null, ms: number | null): string =>
    `| ${name} | ${at === null ? "not yet" : moment(at)} | ${ms === null ? "" : duration(ms)} |`;
  return [
    "| | at | after |",
    "|---|---|---|",
    row("began", times.started_at_unix_ms, null),
    row("detected", times.detected_at_unix_ms, times.detect_ms),
    row("explained", times.explained_at_unix_ms, times.explain_ms),
    row("recovered", times.recovered_at_unix_ms, times.recover_ms),
  ].join("\n");
};

const actionText = (action: ReportAction): string => {
  const guards = action.guards.map(
    ({ guard, passed, reason }) =>
      `  - ${passed ? "passed" : "**held**"} ${text(guard.replaceAll("_", " "))}: ${text(reason)}`,
  );
  const steps = action.steps.map(
    ({ summary, outcome }) =>
      `  - ${text(summary)}: ${outcome === null ? "not done" : `${outcome.status} ${text(outcome.message)}`}`,
  );
  return [
    `- **${text(action.runbook)}** (${action.autonomy}): ${action.state.replaceAll("_", " ")}${action.verdict === null ? "" : `, verified: ${action.verdict}`}. ${text(action.reason)}`,
    ...(action.plan === null ? [] : [`  - plan: ${text(action.plan)}`]),
    ...(action.decided_by === null ? [] : [`  - decided by ${text(action.decided_by)}`]),
    ...guards,
    ...steps,
  ].join("\n");
};

const evidenceText = ({ rule, evidence, answer }: ReportEvidence): string => {
  const params = Object.entries(evidence.params).map(([name, value]) => `${name}=${value}`);
  const parts = [
    `- **${text(rule)}**: ${text(evidence.summary)}`,
    `  query \`${oneLine(`${evidence.query} ${params.join(" ")}`).replaceAll("`", "'")}\`, ${moment(evidence.from_unix_ms)} to ${moment(evidence.to_unix_ms)}`,
  ];
  if (answer?.error != null) parts.push(`  could not be had: ${text(answer.error)}`);
  if (answer !== null && answer.lines.length > 0)
    parts.push("", fenced(answer.lines.map((line) => `${clock(line.at_unix_ms)} ${line.text.slice(0, 500)}`)));
  return parts.join("\n");
};

const list = (items: readonly string[], none: string): string => (items.length === 0 ? none : items.join("\n"));

export const renderMarkdown = (report: Report): string => {
  const hypotheses = report.hypotheses.map(({ name, score, statement, for: pro, against, why_not }, index) =>
    [
      `${index + 1}. **${text(name.replaceAll("_", " "))}** (${score.toFixed(2)})${why_not === null ? " ← held" : ""}: ${text(statement)}`,
      ...pro.map((one) => `   - for: ${text(one)}`),
      ...against.map((one) => `   - against: ${text(one)}`),
      ...(why_not === null ? [] : [`   - why not: ${text(why_not)}`]),
    ].join("\n"),
  );
  const suspects = report.suspects.map(({ name, score, reasons, why_not }, index) =>
    [
      `${index + 1}. **${text(name)}** (${score.toFixed(2)})`,
      ...reasons.map((reason) => `   - ${text(reason)}`),
      ...(why_not === null ? [] : [`   - why not: ${text(why_not)}`]),
    ].join("\n"),
  );
  return `${[
    `# ${text(report.title)}`,
    text(report.summary),
    `Incident \`${oneLine(report.incident_id).replaceAll("`", "'")}\`, ${report.state}, ${report.severity}`,
    "## Root cause",
    `${text(report.root_cause.statement)} (confidence: ${report.root_cause.confidence})`,
    `**Critical failure**: ${text(report.critical_failure)}`,
    `**Impact**: ${text(report.impact)}`,
    "## Times",
    timesTable(report),
    "## What was done",
    list(report.actions.map(actionText), "Nothing."),
    "## What to do next",
    list(
      report.next.map((one) => `- ${text(one)}`),
      "Nothing.",
    ),
    "## Hypotheses",
    list(hypotheses, "None."),
    "## Where it may have begun",
    list(suspects, text(report.suspects_missing ?? "Nothing around its beginning stands out.")),
    "## Evidence",
    list(report.evidence.map(evidenceText), "None was given."),
    "## Timeline",
    list(
      report.timeline.map(
        ({ at_unix_ms, kind, text: what }) => `- \`${clock(at_unix_ms)}\` ${text(kind)}: ${text(what)}`,
      ),
      "Empty.",
    ),
  ].join("\n\n")}\n`;
};
