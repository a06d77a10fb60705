import { createHash, createPrivateKey, type KeyObject } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { parseArgs } from "node:util";
import { PluginManifest, PluginRelease, type PluginStatus, PluginWish, signRelease } from "@homeostat/schemas";
import { z } from "zod";
import { agentsOf } from "./all-agents.ts";
import { connectTo } from "./client.ts";
import { FLAGS } from "./flags.ts";
import { readJsonFile } from "./json-file.ts";
import { publishArtefact } from "./publish-artefact.ts";
import { refusalToExitCode } from "./run.ts";
import { table } from "./style.ts";
import { targetsOf } from "./targets.ts";
import { one, UsageError, type Verb, verbsOf } from "./verb.ts";

const Catalog = z.object({ releases: z.array(PluginRelease), wishes: z.array(PluginWish) });
const OneWish = z.object({ wish: PluginWish });

const targetText = ({ hosts, labels, site, percent }: PluginWish["targets"]): string =>
  [
    ...(hosts === undefined ? [] : [hosts.join(",")]),
    ...(labels === undefined ? [] : [labels === "*" ? "all" : labels]),
    ...(site === undefined ? [] : [`site ${site}`]),
    ...(percent === undefined ? [] : [`${percent} %`]),
  ].join("; ");

/** What ships with the agent has the agent's version. */
const wishText = ({ release: { manifest }, enabled, targets }: PluginWish): string => {
  const { name, version, run } = manifest;
  const which = run === "builtin" ? name : `${name} ${version}`;
  if (!enabled) return `${which} is disabled on ${targetText(targets)}`;
  return `${which}${run === "builtin" ? ", as it ships with the agent," : ""} on ${targetText(targets)}`;
};

const list: Verb = async ({ args, env, out }) => {
  const { values } = parseArgs({ args: [...args], options: FLAGS["plugins list"] });
  const found = await connectTo(values, env).get("/api/v1/plugins", Catalog);
  if (values.json) {
    out(JSON.stringify(found));
    return 0;
  }
  const { releases, wishes } = found;
  if (releases.length === 0) out("nothing is published");
  else
    out(
      table([
        ["plugin", "version", "kind", "brings", "bytes", "publisher"],
        ...releases.map(({ manifest, size_bytes, key_id }) => [
          manifest.name,
          manifest.version,
          manifest.kind,
          [...(manifest.collects ? ["metrics"] : []), ...manifest.executors.map(({ name }) => name)].join(", "),
          String(size_bytes),
          key_id,
        ]),
      ]),
    );
  if (wishes.length > 0)
    out(
      `\n${table([
        ["wished", "version", "on", "how", "by"],
        ...wishes.map(({ release: { manifest }, targets, pinned, enabled, wished_by }) => [
          manifest.name,
          manifest.run === "builtin" ? "the agent's" : manifest.version,
          targetText(targets),
          [...(pinned ? ["pinned"] : []), ...(enabled ? [] : ["disabled"])].join(", "),
          wished_by,
        ]),
      ])}`,
    );
  return 0;
};

/** Of a plugin that none of these hosts tells of: what is known of it all the same; null when nobody has ever heard of it. */
const elsewhere = (name: string, { releases, wishes }: z.infer<typeof Catalog>): string | null => {
  const wished = wishes.filter(({ release }) => release.manifest.name === name);
  if (wished.length > 0) return `wished, and not there yet: ${wished.map(wishText).join("; ")}`;
  const isPublished = releases.some(({ manifest }) => manifest.name === name);
  return isPublished ? `${name} is published, and wished nowhere` : null;
};

const statusTable = (rows: readonly (PluginStatus & { readonly host: string })[]): string =>
  table([
    ["host", "plugin", "version", "state", "pinned", "failed last"],
    ...rows.map(({ host, name, version, state, pinned, last_failed }) => [
      host,
      name,
      version,
      state,
      pinned ? "yes" : "",
      last_failed === null ? "" : `${last_failed.version}: ${last_failed.reason}`,
    ]),
  ]);

/** How plugins fare on the hosts; exit code 1 when any has failed, or when nobody has heard of one that is named. */
const status: Verb = async ({ args, env, out, err }) => {
  const options = FLAGS["plugins status"];
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
  const { labels, site } = values;
  const api = connectTo(values, env);
  const agents = await agentsOf(api, { labels, site });
  const rows = agents.flatMap(({ host, plugins }) =>
    plugins
      .filter(({ name }) => positionals.length === 0 || positionals.includes(name))
      .map((plugin) => ({ host, ...plugin })),
  );
  if (values.json) out(JSON.stringify({ plugins: rows }));
  else if (rows.length > 0) out(statusTable(rows));
  else if (positionals.length === 0) out("no plugins");
  const missing = positionals.filter((name) => rows.every((row) => row.name !== name));
  const catalog = missing.length === 0 ? { releases: [], wishes: [] } : await api.get("/api/v1/plugins", Catalog);
  let isUnknown = false;
  for (const name of missing) {
    const known = elsewhere(name, catalog);
    if (known === null) err(`homeostat: no plugin ${name}: neither published, nor wished, nor on any of these hosts`);
    else if (!values.json) out(known);
    isUnknown ||= known === null;
  }
  return isUnknown || rows.some(({ state }) => state === "failed" || state === "backing_off") ? 1 : 0;
};

const keyOf = (path: string | undefined): KeyObject => {
  if (path === undefined) throw new UsageError("give the publisher's private key (Ed25519, PEM): --key FILE");
  const pem = readFileSync(path);
  const wanted = `${path}: want a private Ed25519 key in PEM, without a passphrase`;
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    throw new UsageError(pem.includes("PUBLIC KEY-----") ? `${wanted}; this is a public one` : wanted, { cause });
  }
  if (key.asymmetricKeyType === "ed25519") return key;
  throw new UsageError(`${wanted}; this one is for ${key.asymmetricKeyType ?? "something else"}`);
};

/** Packs a folder and signs it: an artefact, and beside it its release. */
const pack: Verb = async ({ args, out }) => {
  const options = FLAGS["plugins pack"];
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
  const folder = one(positionals, "folder with a plugin.json");
  const key = keyOf(values.key);
  const { packPlugin } = await import("@homeostat/agent/control");
  const { artefact, release } = await packPlugin(folder, key);
  const path = values.out ?? `${release.manifest.name}-${release.manifest.version}.tar.gz`;
  writeFileSync(path, artefact);
  writeFileSync(`${path}.release.json`, `${JSON.stringify(release, null, 2)}\n`);
  out(`${path} (${release.size_bytes} bytes, sha256 ${release.sha256}), ${basename(path)}.release.json`);
  return 0;
};

/** Signs an artefact that was packed elsewhere. */
const sign: Verb = async ({ args, out }) => {
  const options = FLAGS["plugins sign"];
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
  const path = one(positionals, "artefact (.tar.gz)");
  if (values.manifest === undefined) throw new UsageError("give the manifest that stands in it: --manifest FILE");
  const manifest = readJsonFile(values.manifest, PluginManifest);
  const artefact = readFileSync(path);
  const sha256 = createHash("sha256").update(artefact).digest("hex");
  const release = signRelease({ manifest, sha256, sizeBytes: artefact.length }, keyOf(values.key));
  const to = values.out ?? `${path}.release.json`;
  writeFileSync(to, `${JSON.stringify(release, null, 2)}\n`);
  out(`${to} (signed by ${release.key_id})`);
  return 0;
};

const publish: Verb = async ({ args, env, out, err }) => {
  const options = FLAGS["plugins publish"];
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
  const path = one(positionals, "artefact (.tar.gz)");
  return refusalToExitCode(err, async () => {
    const release = await publishArtefact(connectTo(values, env), path, values.release);
    const { name, version } = release.manifest;
    out(values.json ? JSON.stringify({ release }) : `published ${name} ${version}`);
    return 0;
  });
};

const configOf = (path: string | undefined): unknown =>
  path === undefined ? {} : readJsonFile(path, PluginWish.shape.config);

const wish: Verb = async ({ args, env, out, err }) => {
  const options = FLAGS["plugins wish"];
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
  const name = one(positionals, "plugin");
  const body = {
    name,
    version: values.version ?? null,
    targets: targetsOf(values),
    config: configOf(values.config),
    pinned: values.pin,
    enabled: !values.disable,
    at_once: values["at-once"],
  };
  return refusalToExitCode(err, async () => {
    const { wish: made } = await connectTo(values, env).post("/api/v1/plugins/wishes", body, OneWish);
    out(values.json ? JSON.stringify(made) : wishText(made));
    return 0;
  });
};

const unwish: Verb = async ({ args, env, out, err }) => {
  const options = FLAGS["plugins unwish"];
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
  const name = one(positionals, "plugin");
  const targets = targetsOf(values);
  return refusalToExitCode(err, async () => {
    const { wish: gone } = await connectTo(values, env).post("/api/v1/plugins/unwish", { name, targets }, OneWish);
    out(values.json ? JSON.stringify(gone) : `${name} is not wished on ${targetText(gone.targets)} any more`);
    return 0;
  });
};

/** `homeostat plugins list | status | pack | sign | publish | wish | unwish`. */
export const plugins: Verb = verbsOf("plugins", { list, status, pack, sign, publish, wish, unwish });
