import type { Resource } from "../../gateway/intake.ts";

/** The label that names the host, and the service: the first that is there. */
const HOST_LABELS = ["host", "hostname", "host_name", "node_name", "instance"];
const SERVICE_LABELS = ["service_name", "service", "job", "app"];

/** What scrapers put behind a host in `instance`. */
const PORT = /:\d{1,5}$/;

/** A stream's label set as a resource; `host.name` and `service.name` come to its labels. */
export const resourceOfStream = (labels: Readonly<Record<string, string>>): Resource => {
  const hostLabel = HOST_LABELS.find((label) => (labels[label] ?? "") !== "") ?? "";
  const named = labels[hostLabel] ?? "";
  const host = hostLabel === "instance" ? named.replace(PORT, "") : named;
  const service = labels[SERVICE_LABELS.find((label) => (labels[label] ?? "") !== "") ?? ""] ?? "";
  const attributes: Record<string, string> = { ...labels };
  if (host !== "") attributes["host.name"] = host;
  if (service !== "") attributes["service.name"] = service;
  return { host, service, attributes };
};
