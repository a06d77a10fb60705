import { createHash } from "node:crypto";
import { canonicalJson, type Job, type JobRequest, type TargetSelector } from "@homeostat/schemas";
import { type Labels, labelSelector } from "./labels.ts";
import type { Refused } from "./views.ts";

/** An agent as far as choosing goes. */
export interface Candidate {
  readonly host: string;
  readonly site: string;
  readonly labels: Labels;
  /** Quarantined and revoked agents are sent nothing, but count among their site. */
  readonly mayRun: boolean;
}

/** All known agents, as far as choosing goes; a map would make each job of one host count a whole site. */
export interface Candidates {
  readonly size: number;
  get(host: string): Candidate | undefined;
  values(): Iterable<Candidate>;
  /** How many agents of this site are known and not revoked. */
  siteSize(site: string): number;
}

export interface Selection {
  /** In the order of digests of the salt and the host: which host is first is chance, but the same chance at every look. */
  readonly hosts: readonly string[];
  readonly sites: Job["sites"];
}

/** How many unknown names an error tells. */
const NAMED_MAX = 10;

const namesOf = (hosts: readonly string[]): string => {
  const named = hosts.slice(0, NAMED_MAX).join(", ");
  return hosts.length > NAMED_MAX ? `${named} and ${hosts.length - NAMED_MAX} more` : named;
};

const digestOf = (salt: string, host: string): string =>
  createHash("sha256").update(salt).update("\0").update(host).digest("hex");

const byDigest = (salt: string, hosts: readonly string[]): readonly string[] => {
  if (hosts.length < 2) return hosts;
  return hosts
    .map((host) => ({ host, digest: digestOf(salt, host) }))
    .sort((a, b) => (a.digest < b.digest ? -1 : 1))
    .map(({ host }) => host);
};

/** Exact for what a person writes (33.3 % of 1,000): binary fractions must not round a whole number up. */
const share = (percent: number, count: number): number => Math.ceil(Number(((count * percent) / 100).toFixed(9)));

/** The agents that a list of names means, or who of them is unknown or may not run anything. */
const named = (names: readonly string[], agents: Candidates): readonly Candidate[] | Refused => {
  const unknown = names.filter((name) => agents.get(name) === undefined);
  if (unknown.length > 0) return { refused: "invalid", message: `unknown hosts: ${namesOf(unknown)}` };
  const found = [...new Set(names)].flatMap((name) => agents.get(name) ?? []);
  const barred = found.filter(({ mayRun }) => !mayRun).map(({ host }) => host);
  if (barred.length > 0)
    return {
      refused: "wrong_state",
      message: `quarantined or revoked, so nothing is sent to them: ${namesOf(barred)}`,
    };
  return found;
};

const sitesOf = (hosts: readonly string[], agents: Candidates): Job["sites"] => {
  const targeted = new Map<string, number>();
  for (const host of hosts) {
    const site = agents.get(host)?.site ?? "";
    if (site !== "") targeted.set(site, (targeted.get(site) ?? 0) + 1);
  }
  const entries = [...targeted].map(([site, count]) => [
    site,
    { targeted: count, of: Math.max(count, agents.siteSize(site)) },
  ]);
  return Object.fromEntries(entries);
};

/**
 * The same question gives the same order, so that a preview shows what the job will do, and 20 % of it takes in the 10 % of before: what
 * is asked counts, not how much of it nor when.
 */
export const saltOf = ({ executor, args, targets }: Pick<JobRequest, "executor" | "args" | "targets">): string => {
  const { percent: _, ...rest } = targets;
  return createHash("sha256")
    .update(canonicalJson({ executor, args, targets: rest }))
    .digest("hex");
};

/**
 * The hosts that a selector means among all known agents. Unknown names are refused, not left out; so is a selector that names nothing.
 * Which hosts a percentage takes, and who comes first, follows from the salt and the names alone.
 */
export const select = (
  selector: TargetSelector,
  { agents, salt }: { readonly agents: Candidates; readonly salt: string },
): Selection | Refused => {
  const { hosts: names, labels, site, percent } = selector;
  if (names === undefined && labels === undefined && site === undefined)
    return {
      refused: "no_targets",
      message: 'name hosts, a label expression or a site; every agent is labels: "*"',
    };
  const matches = labels === undefined ? () => true : labelSelector(labels);
  if (typeof matches !== "function")
    return {
      refused: "invalid",
      message: `labels ${JSON.stringify(labels)}, column ${matches.at}: ${matches.problem}`,
    };
  const pool = names === undefined ? [...agents.values()].filter(({ mayRun }) => mayRun) : named(names, agents);
  if ("refused" in pool) return pool;
  const chosen = pool
    .filter((agent) => (site === undefined || agent.site === site) && matches(agent.labels))
    .map(({ host }) => host);
  if (chosen.length === 0)
    return { refused: "no_targets", message: `no agent is selected, of ${agents.size} that are known` };
  const ordered = byDigest(salt, chosen);
  const hosts = percent === undefined ? ordered : ordered.slice(0, share(percent, ordered.length));
  return { hosts, sites: sitesOf(hosts, agents) };
};
