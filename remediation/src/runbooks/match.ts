import type { Finding, Severity } from "@homeostat/schemas";
import type { Runbook } from "./runbook.ts";

const SEVERITIES: readonly Severity[] = ["info", "warning", "critical"];

/** Without regular expressions: a pattern is configuration, but what it meets is not, and must never make it slow. */
export const matchesPattern = (pattern: string, text: string): boolean => {
  const [head = "", ...rest] = pattern.split("*");
  const tail = rest.pop();
  if (tail === undefined) return text === pattern;
  if (!text.startsWith(head)) return false;
  let at = head.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return text.length - tail.length >= at && text.endsWith(tail);
};

const anyOf = (patterns: readonly string[], text: string): boolean =>
  patterns.length === 0 || patterns.some((pattern) => matchesPattern(pattern, text));

/** Findings of category data_health say that the observer is sick: no runbook answers them. */
export const answers = ({ match }: Runbook, finding: Finding): boolean =>
  finding.category !== "data_health" &&
  anyOf(match.rules, finding.rule) &&
  anyOf(match.detectors, finding.detector) &&
  SEVERITIES.indexOf(finding.severity) >= SEVERITIES.indexOf(match.severity_min) &&
  match.entity_has.every((part) => finding.entity[part] !== undefined) &&
  Object.entries(match.labels).every(([name, pattern]) => {
    const value = Object.hasOwn(finding.labels, name) ? finding.labels[name] : undefined;
    return value !== undefined && matchesPattern(pattern, value);
  });

/** The first runbook that answers one of the findings, and all of the findings that it answers on the same entity. */
export const chooseRunbook = (
  runbooks: readonly Runbook[],
  findings: readonly Finding[],
): { readonly runbook: Runbook; readonly findings: readonly [Finding, ...Finding[]] } | null => {
  for (const runbook of runbooks) {
    const [first, ...rest] = findings.filter((finding) => answers(runbook, finding));
    if (first !== undefined) return { runbook, findings: [first, ...rest] };
  }
  return null;
};
