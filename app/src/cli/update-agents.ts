import { parseArgs } from "node:util";
import type { AgentRow } from "@homeostat/analytics";
import { type JobRequest, PluginRelease } from "@homeostat/schemas";
import { z } from "zod";
import { agentsOf } from "./all-agents.ts";
import { type ApiClient, connectTo } from "./client.ts";
import { EXIT } from "./exit-code.ts";
import { FLAGS } from "./flags.ts";
import { jobRequestOf } from "./job-request.ts";
import { readJsonFile } from "./json-file.ts";
import { publishArtefact } from "./publish-artefact.ts";
import { previewOf, refusalToExitCode, submitJob, tellPreview, waitIn } from "./run.ts";
import { printable } from "./terminal-text.ts";
import { UsageError, type Verb, type VerbInput } from "./verb.ts";

/** What `homeostat-agent build` names its release. */
const AGENT_RELEASE_NAME = "homeostat-agent";
/** Hosts that are named in a line. */
const NAMED_MAX = 5;

const Catalog = z.object({ releases: z.array(PluginRelease) });

interface ReleaseFlags {
  readonly version?: string | undefined;
  readonly release?: string | undefined;
  readonly "dry-run": boolean;
}

const releaseOf = async (api: ApiClient, { version, release, ...values }: ReleaseFlags): Promise<PluginRelease> => {
  if ((version === undefined) === (release === undefined))
    throw new UsageError("say to which release: --version V of one that is published, or --release FILE (.tar.gz)");
  const { releases } = await api.get("/api/v1/plugins", Catalog);
  const ours = releases.filter(({ manifest }) => manifest.name === AGENT_RELEASE_NAME);
  if (release === undefined) {
    const found = ours.find(({ manifest }) => manifest.version === version);
    if (found !== undefined) return found;
    const known = ours.map(({ manifest }) => manifest.version).join(", ");
    const others = known === "" ? "none is yet" : `published: ${known}`;
    throw new UsageError(`no ${AGENT_RELEASE_NAME} ${version} is published (${others})`);
  }
  const named = readJsonFile(`${release}.release.json`, PluginRelease);
  if (named.manifest.name !== AGENT_RELEASE_NAME)
    throw new UsageError(`${release} is ${named.manifest.name}: want a release of ${AGENT_RELEASE_NAME}`);
  return (
    ours.find(({ sha256 }) => sha256 === named.sha256) ?? (values["dry-run"] ? named : publishArtefact(api, release))
  );
};

type Why = "has it already" | "is updated with its platform" | "is offline";

/** null: it is told to update. A host that does not answer would hold up its wave until the job expires. */
const whyLeftOut = (agent: AgentRow, version: string): Why | null => {
  if (agent.agent_version === version) return "has it already";
  if (agent.link === "bus") return "is updated with its platform";
  return agent.state === "offline" ? "is offline" : null;
};

const tellLeftOut = (leftOut: ReadonlyMap<string, Why>, err: VerbInput["err"]): void => {
  for (const [why, found] of Map.groupBy(leftOut, ([, why]) => why)) {
    const named = found.slice(0, NAMED_MAX).map(([host]) => printable(host));
    const more = found.length > NAMED_MAX ? ` and ${found.length - NAMED_MAX} more` : "";
    err(`left out, ${why}: ${named.join(", ")}${more}`);
  }
};

/** What the targets mean now, less those that need no update or cannot have one. */
const narrowed = async (
  api: ApiClient,
  request: JobRequest,
  version: string,
): Promise<{ readonly request: JobRequest; readonly leftOut: ReadonlyMap<string, Why> }> => {
  const { hosts } = await previewOf(api, request);
  const agents = new Map((await agentsOf(api, {})).map((agent) => [agent.host, agent]));
  const leftOut = new Map<string, Why>();
  for (const host of hosts) {
    const agent = agents.get(host);
    const why = agent === undefined ? "is offline" : whyLeftOut(agent, version);
    if (why !== null) leftOut.set(host, why);
  }
  const targets = { hosts: hosts.filter((host) => !leftOut.has(host)) };
  return { request: leftOut.size === 0 ? request : { ...request, targets }, leftOut };
};

const noneLeft = (leftOut: ReadonlyMap<string, Why>, version: string, err: VerbInput["err"]): number => {
  const isDone = [...leftOut.values()].every((why) => why === "has it already");
  err(isDone ? `all of them run ${version} already` : "no agent is left to be updated");
  return isDone ? EXIT.succeeded : EXIT.nothingReached;
};

/**
 * `homeostat agents update`: one job of `agent.update`, which each host answers only once it has kept the new version or taken it back. So
 * the waves of the job are gated by the health of the ones before, and its errors stop it.
 */
export const updateAgents: Verb = async ({ args, env, out, err, signal }) => {
  const { values } = parseArgs({ args: [...args], options: FLAGS["agents update"] });
  const waitMs = waitIn(values);
  // Named once without arguments, so that wrong flags are told before anything is published.
  const asked = jobRequestOf("agent.update", values);
  const api = connectTo(values, env);
  return refusalToExitCode(err, async () => {
    const { manifest, sha256, size_bytes, key_id, signature } = await releaseOf(api, values);
    const { version } = manifest;
    const whole = { ...asked, args: { version, sha256, size_bytes, key_id, signature } };
    const { request, leftOut } = await narrowed(api, whole, version);
    if (values.json)
      out(JSON.stringify({ type: "left_out", hosts: [...leftOut].map(([host, why]) => ({ host, why })) }));
    else tellLeftOut(leftOut, err);
    if (request.targets.hosts?.length === 0) return noneLeft(leftOut, version, err);
    if (values["dry-run"]) return tellPreview(await previewOf(api, request), { out, isJson: values.json });
    const options = { isJson: values.json, isRaw: false, waitMs, passesExitCode: false, isDetached: values.detach };
    return submitJob({ api, signal, out, err }, request, options);
  });
};
