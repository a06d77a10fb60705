import type { Evidence, Finding } from "@homeostat/schemas";
import { clip, FRESH_MS } from "../episode.ts";
import type { LogWindow, Stream } from "../window.ts";
import type { LogTemplatesConfig } from "./log-templates-config.ts";
import { knownFaults } from "./match-faults.ts";
import type { Miner, NamedTemplate } from "./miner.ts";

/** In OpenTelemetry's severity numbers; 0 is unspecified, and then words decide. */
export const SEVERITY_WARN = 13;
export const SEVERITY_ERROR = 17;

/** A stream's history of errors is kept in pieces of so many seconds. */
export const BUCKET_SECONDS = 10;

/** The line at hand: one object for all lines, filled anew for each. */
export interface Line {
  slot: number;
  second: number;
  severity: number;
  isError: boolean;
  /** Its template's place. */
  template: number;
}

/** What stands while a window is worked through. */
export interface LogContext {
  readonly window: LogWindow;
  readonly config: LogTemplatesConfig;
  readonly miner: Miner;
  readonly line: Line;
  /** What is found goes here: most lines have nothing to tell, and there are many. */
  readonly findings: Finding[];
}

export const titleOf = (title: string, { host, service }: Stream): string =>
  `${title.replaceAll("{service}", service || "(no service)")} on ${host}`;

export const isFresh = (second: number, { window }: LogContext): boolean =>
  second * 1000 >= window.nowUnixMs - FRESH_MS;

/** What a finding says of a template; `fault` is the id of the first known fault that its text speaks of. */
export const templateLabels = (template: NamedTemplate | null): Record<string, string> => {
  if (template === null) return {};
  const [fault] = knownFaults(template.text);
  return { template_id: template.id, template: template.text, ...(fault !== undefined && { fault: fault.id }) };
};

export const logEvidence = (
  { host, service }: Stream,
  range: {
    readonly startedUnixMs: number;
    readonly toUnixMs: number;
    readonly text: string;
    readonly severityMin?: number;
  },
): Evidence => ({
  query: "log_search",
  params: { host_name: host, service_name: service, severity_min: range.severityMin ?? SEVERITY_ERROR },
  from_unix_ms: Math.max(0, range.startedUnixMs - 60_000),
  to_unix_ms: Math.max(range.startedUnixMs, range.toUnixMs),
  summary: clip(range.text || "errors of the stream", 1000),
});

export const streamEntity = ({ host, service }: Stream): Finding["entity"] => ({
  host: host.slice(0, 255) || "unknown",
  ...(service !== "" && { service: service.slice(0, 255) }),
});
