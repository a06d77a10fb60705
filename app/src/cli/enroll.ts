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
    expires_ms: durationIn("expires", values.expires),
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

const change =
  (to: "revoke" | "quarantine" | "readmit"): Verb =>
  async ({ args, env, out, err }) => {
    const options = FLAGS[`enroll ${to}`];
    const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
    const host = one(positionals, "host");
    return refusalToExitCode(err, async () => {
      const path = `/api/v1/identities/${encodeURIComponent(host)}/${to}`;
      const shape = z.object({ identity: AgentIdentity });
      const { identity } = await connectTo(values, env).post(path, { reason: values.reason }, shape);
      out(values.json ? JSON.stringify({ identity }) : `${identity.host} is ${identity.state}`);
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
