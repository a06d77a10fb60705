import type { Evidence, Finding } from "@homeostat/schemas";
import { clip } from "../episode.ts";
import type { Stream } from "../window.ts";

/** ERROR in OpenTelemetry's severity numbers; 0 is unspecified, and then words decide. */
export const SEVERITY_ERROR = 17;

/** A template's counts are smoothed, and a stream's history is kept, in pieces of so many seconds. */
export const BUCKET_SECONDS = 10;

export const titleOf = (title: string, { host, service }: Stream): string =>
  `${title.replaceAll("{service}", service || "(no service)")} on ${host}`;

export const logEvidence = (
  { host, service }: Stream,
  range: { readonly startedUnixMs: number; readonly toUnixMs: number; readonly text: string },
): Evidence => ({
  query: "log_search",
  params: { host_name: host, service_name: service, severity_min: SEVERITY_ERROR },
  from_unix_ms: Math.max(0, range.startedUnixMs - 60_000),
  to_unix_ms: Math.max(range.startedUnixMs, range.toUnixMs),
  summary: clip(range.text || "errors of the stream", 1000),
});

export const streamEntity = ({ host, service }: Stream): Finding["entity"] => ({
  host: host.slice(0, 255) || "unknown",
  ...(service !== "" && { service: service.slice(0, 255) }),
});
