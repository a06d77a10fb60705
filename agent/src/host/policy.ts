import { type CommandArgs, type Grant, Risk } from "@homeostat/schemas";
import { z } from "zod";
import { refusalOf } from "./executor/executor.ts";

const Glob = z.string().min(1).max(255);
const globs = (allowed: readonly string[]) =>
  z
    .strictObject({
      allow: z
        .array(Glob)
        .max(256)
        .default([...allowed]),
      /** Beats allow. */
      deny: z.array(Glob).max(256).default([]),
    })
    .prefault({});
type Globs = z.infer<ReturnType<typeof globs>>;

/**
 * What this host lets be done to it, whatever the control plane grants. It stands in the operator's own file: nothing that comes through
 * the channel can change it. In globs `*` is any text and `?` one character.
 */
export const AgentPolicy = z.strictObject({
  executors: globs(["*"]),
  /** Names of declared commands, for exec.run. */
  commands: globs(["*"]),
  /** Who may ask. */
  requested_by: globs(["*"]),
  /** JSON Schemas (draft 2020-12) that the arguments must fit too, by executor. */
  args: z.record(z.string().min(1).max(64), z.record(z.string(), z.json())).default({}),
  /** Of the hosts of this host's site, how many one job may touch; 0.1 is a tenth. With it, a grant that does not say is refused. */
  max_share_of_site: z.number().gt(0).max(1).optional(),
  max_risk: Risk.default("destructive"),
  /** By how many others than who asked it must have been approved. */
  approvals_min: z
    .strictObject({
      read_only: z.int().min(0).max(16).default(0),
      reversible: z.int().min(0).max(16).default(0),
      destructive: z.int().min(0).max(16).default(1),
    })
    .prefault({}),
  /** They touch only what the operator has declared on this host: that declaration is the approval. */
  approved_by_declaration: z.array(z.string().min(1).max(64)).max(64).default(["service.restart", "files.free"]),
});
export type AgentPolicy = z.infer<typeof AgentPolicy>;

/** Why this host will not have it, or null. `risk` is what the executor says that it may do here. */
export type PolicyCheck = (asked: { grant: Grant; args: CommandArgs; risk: Risk }) => string | null;

const RISKS = Risk.options;
const isAbove = (risk: Risk, limit: Risk): boolean => RISKS.indexOf(risk) > RISKS.indexOf(limit);

/** @throws Error when a schema of arguments is none, so that an agent with a broken policy does not begin. */
export const createPolicyCheck = (configured: AgentPolicy, site: () => string): PolicyCheck => {
  // As it was when the agent began, whatever becomes of the object.
  const policy = structuredClone(configured);
  const executor = permits(policy.executors);
  const command = permits(policy.commands);
  const requester = permits(policy.requested_by);
  const schemas = new Map(Object.entries(policy.args).map(([name, json]) => [name, schemaOf(name, json)]));
  return ({ grant, args, risk }) => {
    if (!executor(grant.executor)) return `this host's policy does not allow ${grant.executor}`;
    const { name } = args;
    if (grant.executor === "exec.run" && !(typeof name === "string" && command(name)))
      return `this host's policy does not allow the command ${JSON.stringify(name ?? null).slice(0, 130)}`;
    if (!requester(grant.requested_by)) return `this host's policy does not let ${grant.requested_by} ask`;
    if (isAbove(risk, grant.risk)) return `granted as ${grant.risk}, but ${grant.executor} is ${risk} here`;
    if (isAbove(grant.risk, policy.max_risk)) return `${grant.risk} is above this host's max_risk ${policy.max_risk}`;
    const unfit = schemas.get(grant.executor)?.safeParse(args);
    if (unfit?.success === false) return `this host's policy: ${refusalOf(unfit.error).refused}`;
    return shareRefusal(policy, grant, site()) ?? approvalRefusal(policy, grant);
  };
};

const shareRefusal = ({ max_share_of_site: limit }: AgentPolicy, grant: Grant, site: string): string | null => {
  if (limit === undefined) return null;
  const share = Object.hasOwn(grant.targets.sites, site) ? grant.targets.sites[site] : undefined;
  if (share === undefined) return `the grant does not say how much of site ${JSON.stringify(site)} it touches`;
  const { targeted, of } = share;
  if (targeted > limit * of) return `${targeted} of ${of} hosts of ${site} is above max_share_of_site ${limit}`;
  return null;
};

const approvalRefusal = (policy: AgentPolicy, grant: Grant): string | null => {
  if (policy.approved_by_declaration.includes(grant.executor)) return null;
  const wanted = policy.approvals_min[grant.risk];
  if (wanted === 0) return null;
  const others = new Set(grant.approvals.map(({ by }) => personOf(by)));
  others.delete(personOf(grant.requested_by));
  others.delete("");
  if (others.size >= wanted) return null;
  return `${grant.risk} wants ${wanted} approvals by others than ${grant.requested_by}, and has ${others.size}`;
};

/** The same person, however the name was typed. */
const personOf = (name: string): string => name.normalize("NFKC").trim().toLowerCase();

const permits = ({ allow, deny }: Globs): ((name: string) => boolean) => {
  if (allow.includes("*") && deny.length === 0) return () => true;
  const [allowed, denied] = [allow.map(nameGlob), deny.map(nameGlob)];
  return (name) => allowed.some((glob) => glob.test(name)) && !denied.some((glob) => glob.test(name));
};

/** Names have no segments: `*` passes over anything. */
const nameGlob = (glob: string): RegExp => {
  const source = glob.replace(/\*+|\?|[.+^${}()|[\]\\]/g, (part) => {
    if (part.startsWith("*")) return ".*";
    return part === "?" ? "." : `\\${part}`;
  });
  return new RegExp(`^${source}$`, "su");
};

const schemaOf = (executor: string, json: Record<string, unknown>): z.ZodType => {
  try {
    return z.fromJSONSchema(json as Parameters<typeof z.fromJSONSchema>[0]);
  } catch (error) {
    throw new Error(`policy.args.${executor}: not a JSON Schema that can be checked here: ${String(error)}`, {
      cause: error,
    });
  }
};
