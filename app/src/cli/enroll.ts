import { parseArgs } from "node:util";
import { AgentIdentity, EnrolmentToken } from "@homeostat/schemas";
import { z } from "zod";
import { type ApiClient, connectTo } from "./client.ts";
import { FLAGS } from "./flags.ts";
import { durationIn } from "./job-request.ts";
import { refusalToExitCode } from "./run.ts";
import { table } from "./style.ts";
import { wholeNumberIn } from "./targets.ts";
import { one, UsageError, type Verb, verbsOf } from "./verb.ts";

const USES_MAX = 10_000;
const day = (unixMs: number): string => `${new Date(unixMs).toISOString().slice(0, 16)}Z`;

/** Prints the token alone, so that it can be piped to where it is used; it is told once. */
const token: Verb = async ({ args, env, out, err }) => {
  const { values } = parseArgs({ args: [...args], options: FLAGS["enroll token"] });
  if (values.site === undefined) throw new UsageError("give the site that is enrolled into: --site SITE");
  if (values.for !== "agent" && values.for !== "site") throw new UsageError(`--for ${values.for}: want agent or site`);
  const body = {
    for: values.for,
    site: values.site,
    again: values.again,
    uses: wholeNumberIn("uses", values.uses, [1, USES_MAX]),
    expires_ms: durationIn("expires", values.expires, ["1m", "7d"]),
    ...(values.host !== undefined && { host: values.host }),
  };
  return refusalToExitCode(err, async () => {
    const shape = z.object({ text: z.string(), token: EnrolmentToken });
    const made = await connectTo(values, env).post("/api/v1/enrolment-tokens", body, shape);
    out(values.json ? JSON.stringify(made) : made.text);
    if (!values.json) err(`good until ${day(made.token.expires_at_unix_ms)}; it is not shown again`);
    return 0;
  });
};

const tokens: Verb = async ({ args, env, out }) => {
  const { values } = parseArgs({ args: [...args], options: FLAGS["enroll tokens"] });
  const shape = z.object({ tokens: z.array(EnrolmentToken) });
  const found = await connectTo(values, env).get("/api/v1/enrolment-tokens", shape);
  if (values.json) out(JSON.stringify(found));
  else if (found.tokens.length === 0) out("no tokens");
  else
    out(
      table([
        ["token", "for", "site", "host", "used", "until", "by"],
        ...found.tokens.map((one) => [
          one.id,
          one.for,
          one.site,
          one.host ?? "any",
          `${one.uses}/${one.uses_max}`,
          day(one.expires_at_unix_ms),
          one.created_by,
        ]),
      ]),
    );
  return 0;
};

const withdraw: Verb = async ({ args, env, out, err }) => {
  const options = FLAGS["enroll withdraw"];
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
  const id = one(positionals, "token's id");
  return refusalToExitCode(err, async () => {
    const path = `/api/v1/enrolment-tokens/${encodeURIComponent(id)}/withdraw`;
    const gone = await connectTo(values, env).post(path, {}, z.object({ token: EnrolmentToken }));
    out(values.json ? JSON.stringify(gone) : `token ${id} is withdrawn`);
    return 0;
  });
};

const Identities = z.object({ identities: z.array(AgentIdentity), next: z.string().nullable() });

const identitiesOf = async (api: ApiClient, state: string | undefined): Promise<readonly AgentIdentity[]> => {
  const found: AgentIdentity[] = [];
  let after = "";
  for (;;) {
    const query = new URLSearchParams({ ...(state !== undefined && { state }), ...(after !== "" && { after }) });
    const page = await api.get(`/api/v1/identities?${query}`, Identities);
    found.push(...page.identities);
    if (page.next === null) return found;
    after = page.next;
  }
};

const list: Verb = async ({ args, env, out }) => {
  const { values } = parseArgs({ args: [...args], options: FLAGS["enroll list"] });
  const identities = await identitiesOf(connectTo(values, env), values.state);
  if (values.json) out(JSON.stringify({ identities }));
  else if (identities.length === 0) out("nobody is enrolled");
  else
    out(
      table([
        ["host", "kind", "site", "state", "certificate until", "changed by", "reason"],
        ...identities.map(({ host, kind, site, state, certificates, changed_by, reason }) => [
          host,
          kind,
          site,
          state,
          certificates[0] === undefined ? "none" : day(certificates[0].not_after_unix_ms),
          changed_by,
          reason,
        ]),
      ]),
    );
  return 0;
};

/** Which identity is meant, in the API's words. */
const kindIn = ({ for: kind, site }: { readonly for: string; readonly site?: string | undefined }) => {
  if (kind !== "agent" && kind !== "site") throw new UsageError(`--for ${kind}: want agent or site`);
  if (kind === "site" && site === undefined) throw new UsageError("give the site of the site server: --site SITE");
  if (kind === "agent" && site !== undefined)
    throw new UsageError("--site is of a site server (--for site): the name of a host is enough");
  return { kind, ...(site !== undefined && { site }) };
};

/** What somebody still has to do before it is let in again; its old certificates stay without force. */
const stillToDo = ({ kind, host, site }: AgentIdentity): readonly string[] => [
  `${host} may enrol again; until then it is not let in, since none of its certificates counts`,
  `  1. homeostat enroll token${kind === "site" ? " --for site" : ""} --site ${site} --host ${host}`,
  kind === "site"
    ? `  2. there, put the token where site.token says, remove the folder "site" of its data_dir, and start it again`
    : "  2. there, enrol with the token: homeostat-agent enroll says which folder to remove first",
];

const told = (identity: AgentIdentity): string => {
  const { kind, host, site, state, certificates } = identity;
  if (state === "active" && certificates.length === 0) return stillToDo(identity).join("\n");
  return kind === "site" ? `site server ${host} of ${site} is ${state}` : `${host} is ${state}`;
};

const change =
  (to: "revoke" | "quarantine" | "readmit"): Verb =>
  async ({ args, env, out, err }) => {
    const options = FLAGS[`enroll ${to}`];
    const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
    const host = one(positionals, "host, or name of a site server");
    const body = { reason: values.reason, ...kindIn(values) };
    return refusalToExitCode(err, async () => {
      const path = `/api/v1/identities/${encodeURIComponent(host)}/${to}`;
      const shape = z.object({ identity: AgentIdentity });
      const { identity } = await connectTo(values, env).post(path, body, shape);
      out(values.json ? JSON.stringify({ identity }) : told(identity));
      return 0;
    });
  };

/** `homeostat enroll token | tokens | withdraw | list | revoke | quarantine | readmit`. */
export const enroll: Verb = verbsOf("enroll", {
  token,
  tokens,
  withdraw,
  list,
  revoke: change("revoke"),
  quarantine: change("quarantine"),
  readmit: change("readmit"),
});
