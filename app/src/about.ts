import { resolve } from "node:path";
import { rulesOf } from "@homeostat/detectors";
import type { Options } from "./options.ts";
import type { Platform } from "./platform.ts";

const count = (number: number, one: string, many = `${one}s`): string => `${number} ${number === 1 ? one : many}`;

const watched = ({ agent, detectors, parts }: Options, host: string): string => {
  if (parts.every((part) => part === "site" || part === "receivers")) return "nothing itself";
  if (!parts.includes("agent")) return `what agents send, by ${count(rulesOf(detectors).length, "rule")}`;
  const more = [
    agent.logs.length > 0 && count(agent.logs.length, "log file pattern"),
    agent.services.length > 0 && count(agent.services.length, "service"),
    agent.paths.length > 0 && count(agent.paths.length, "declared path"),
    agent.processes.length > 0 && count(agent.processes.length, "process", "processes"),
  ].filter((part) => part !== false);
  const every = agent.interval_ms === 1000 ? "every second" : `every ${agent.interval_ms} ms`;
  return [`${host}: CPU, load, memory, swap, disks, network ${every}`, ...more].join("; ");
};

const healed = ({ agent, remediation, parts }: Options): string => {
  if (!parts.includes("remediation")) return "nothing by itself: remediation runs elsewhere";
  const auto = remediation.runbooks.filter(({ autonomy }) => autonomy === "auto").length;
  const targets = agent.services.length + agent.paths.length + agent.commands.length;
  const may = targets === 0 ? "; no service or path is declared yet, so nothing will be touched" : "";
  return `${count(remediation.runbooks.length, "runbook")}, ${auto} of them on ${auto === 1 ? "its" : "their"} own${may}`;
};

const busOf = ({ bus, data_dir }: Options): string =>
  bus.kind === "embedded"
    ? `embedded log on SQLite, ${resolve(data_dir, "bus")}`
    : `Apache Kafka at ${bus.brokers.join(", ")}`;

const served = ({ site, parts }: Options): string => {
  if (site === undefined || !parts.includes("site")) return "no agents of other hosts (site in the configuration)";
  const { host, port } = site.listen;
  const at = `site ${site.name} at ${host}:${port}`;
  // A token is asked for where control is, and through the API there.
  const gives = parts.includes("control") && parts.includes("api");
  return gives ? `${at}: npx homeostat enroll token --site ${site.name}` : at;
};

/** What a start tells a person: who is watched, what may be done, and where things are. */
export const aboutPlatform = (
  options: Options,
  { host, store, receives }: { readonly host: string; readonly store: string; readonly receives: readonly string[] },
): Platform["about"] => ({
  watches: watched(options, host),
  receives: receives.length === 0 ? "from agents alone (receivers in the configuration)" : receives.join(", "),
  heals: healed(options),
  serves: served(options),
  bus: busOf(options),
  store,
});
