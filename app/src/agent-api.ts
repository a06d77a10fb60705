import { type Control, type Identities, labelSelector } from "@homeostat/agent/control";
import type { AgentPlatform, EnrolmentPort, FleetPort, PluginPort, Refused, ShellPort } from "@homeostat/analytics";

/** Identities and plugins belong to the control plane that leads. */
const NOT_LEADER: Refused = { refused: "not_leader", message: "another control plane leads, or none does yet" };

/** Sessions are recorded; a job of its own would go round that. */
const SHELL = "shell.open";

const fleetOf = (control: Control): FleetPort => ({
  agents: ({ labels, site }) => {
    const matches = labels === undefined ? () => true : labelSelector(labels);
    if (typeof matches !== "function")
      return {
        refused: "invalid",
        message: `labels ${JSON.stringify(labels)}, column ${matches.at}: ${matches.problem}`,
      };
    return control.agents().filter((agent) => (site === undefined || agent.site === site) && matches(agent.labels));
  },
  agent: (host) => control.agent(host),
  submit: async (request, by) =>
    request.executor === SHELL
      ? {
          refused: "invalid",
          message: "a session is opened with homeostat shell (POST /api/v1/shell), which records it",
        }
      : control.submit(request, by),
  preview: (request, by) => control.preview(request, by),
  leads: () => control.health().role === "leader",
  jobs: (filter) => control.jobs(filter),
  job: (jobId) => control.job(jobId),
  follow: (jobId, listener) => control.follow(jobId, listener),
  cancel: (jobId, by, note) => control.cancel(jobId, by, note),
  approve: (jobId, by) => control.approve(jobId, by),
  reject: (jobId, by, note) => control.reject(jobId, by, note),
});

const NO_QUARANTINE: Refused = {
  refused: "invalid",
  message: "a site server cannot be quarantined, since it is sent no commands: revoke it",
};

const changeAt =
  (identities: Identities): EnrolmentPort["change"] =>
  async (whose, to, by, reason) => {
    if (whose.kind === "agent") return identities[to](whose.host, by.name, reason);
    const server = { site: whose.site, name: whose.host };
    switch (to) {
      case "revoke":
        return identities.revokeSiteServer(server, by.name, reason);
      case "readmit":
        return identities.readmitSiteServer(server, by.name, reason);
      case "quarantine":
        return NO_QUARANTINE;
    }
  };

const enrolmentOf = (control: Control): EnrolmentPort => ({
  identities: () => [...(control.identities?.agents() ?? []), ...(control.identities?.siteServers() ?? [])],
  tokens: () => control.identities?.tokens() ?? [],
  createToken: async (request, by) => (await control.identities?.createToken(request, by.name)) ?? NOT_LEADER,
  withdrawToken: async (tokenId, by) => (await control.identities?.withdrawToken(tokenId, by.name)) ?? NOT_LEADER,
  change: async (...asked) => (control.identities === null ? NOT_LEADER : changeAt(control.identities)(...asked)),
});

const pluginsOf = (control: Control): PluginPort => ({
  releases: () => control.plugins?.releases() ?? [],
  wishes: () => control.plugins?.wishes() ?? [],
  publish: async (release, artefact, by) => {
    const published = (await control.plugins?.publish(artefact, release)) ?? NOT_LEADER;
    if ("refused" in published) return published;
    const { manifest, sha256, key_id } = published;
    const details = { version: manifest.version, sha256, key_id };
    await control.audit.append(by.name, "plugin.published", manifest.name, details);
    return published;
  },
  wish: async (request, by) => {
    const wish = (await control.plugins?.wish({ ...request, by: by.name })) ?? NOT_LEADER;
    if ("refused" in wish) return wish;
    const { version, targets, pinned, enabled } = request;
    const details = { version, targets: JSON.stringify(targets), pinned, enabled };
    await control.audit.append(by.name, "plugin.wished", request.name, details);
    return wish;
  },
  unwish: async (name, targets, by) => {
    const wish = (await control.plugins?.unwish(name, targets)) ?? NOT_LEADER;
    if ("refused" in wish) return wish;
    await control.audit.append(by.name, "plugin.unwished", name, { targets: JSON.stringify(targets) });
    return wish;
  },
});

/** What the API needs of the control plane, in the API's words. */
export const agentApi = (control: Control, shell: ShellPort): AgentPlatform => ({
  fleet: fleetOf(control),
  enrolment: enrolmentOf(control),
  plugins: pluginsOf(control),
  audit: { read: (from, limit) => control.audit.read(from, limit), verify: () => control.audit.verify() },
  shell,
});
