import { createHash, createPrivateKey } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { parseArgs } from "node:util";
import { PluginManifest, PluginRelease, PluginWish, signRelease } from "@homeostat/schemas";
import { z } from "zod";
import { agentsOf } from "./all-agents.ts";
import { connectTo } from "./client.ts";
import { FLAGS } from "./flags.ts";
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
        ["wished", "version", "on", "pinned", "by"],
        ...wishes.map(({ release, targets, pinned, wished_by }) => [
          release.manifest.name,
          release.manifest.version,
          targetText(targets),
          pinned ? "yes" : "",
          wished_by,
        ]),
      ])}`,
    );
  return 0;
};

/** How plugins fare on the hosts; exit code 1 when any has failed. */
const status: Verb = async ({ args, env, out }) => {
  const options = FLAGS["plugins status"];
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
  const { labels, site } = values;
  const agents = await agentsOf(connectTo(values, env), { labels, site });
  const rows = agents.flatMap(({ host, plugins }) =>
    plugins
      .filter(({ name }) => positionals.length === 0 || positionals.includes(name))
      .map((plugin) => ({ host, ...plugin })),
  );
  if (values.json) out(JSON.stringify({ plugins: rows }));
  else if (rows.length === 0) out("no such plugin anywhere");
  else
    out(
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
      ]),
    );
  return rows.some(({ state }) => state === "failed" || state === "backing_off") ? 1 : 0;
};

const keyOf = (path: string | undefined) => {
  if (path === undefined) throw new UsageError("give the publisher's private key (Ed25519, PEM): --key FILE");
  return createPrivateKey(readFileSync(path));
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
  const manifest = PluginManifest.parse(JSON.parse(readFileSync(values.manifest, "utf8")));
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
  path === undefined ? {} : JSON.parse(readFileSync(path, "utf8"));

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
    const { manifest } = made.release;
    out(values.json ? JSON.stringify(made) : `${manifest.name} ${manifest.version} on ${targetText(made.targets)}`);
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
