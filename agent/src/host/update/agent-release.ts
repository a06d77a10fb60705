import type { KeyObject } from "node:crypto";
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { releaseDistrust, SemVer } from "@homeostat/schemas";
import { z } from "zod";
import { type FetchSetting, fetchArtefact } from "../fetch-artefact.ts";
import { versionsDir } from "./update-files.ts";

export const AGENT_RELEASE_NAME = "homeostat-agent";
const RELEASE_BYTES_MAX = 64 * 1_048_576;
const PIECE_RETRY_MS = 1_000;
const UNPACK_MS = 120_000;

/** The arguments of `agent.update`: a release of the agent, as `homeostat plugins publish` signs one whose plugin.json names it. */
export const AgentRelease = z.strictObject({
  version: SemVer,
  sha256: z.string().regex(/^[0-9a-f]{64}$/, "want 64 hex digits"),
  size_bytes: z.int().min(1).max(RELEASE_BYTES_MAX),
  key_id: z.string().max(64),
  signature: z.base64().min(1).max(128),
});
export type AgentRelease = z.infer<typeof AgentRelease>;

/** Why the release is not to be trusted; null when a trusted key signed it. */
export const distrustOf = (release: AgentRelease, keys: readonly KeyObject[]): string | null => {
  const { version, sha256, size_bytes, key_id, signature } = release;
  return releaseDistrust({ manifest: manifestOf(version), sha256, size_bytes, key_id, signature }, keys);
};

/** As the build writes it; only name and version are signed, the rest is covered by the digest. */
const manifestOf = (version: string) => ({
  name: AGENT_RELEASE_NAME,
  version,
  kind: "static" as const,
  run: { command: "bin/homeostat-agent.sh", args: [] },
  collects: false,
  collect_interval_ms: 60_000,
  executors: [],
  limits: { call_timeout_ms: 60_000, output_bytes_max: 65_536 },
  health: { interval_ms: 10_000, timeout_ms: 2_000, restarts_max: 5, ready_ms: 10_000 },
  config_schema: {},
});

/**
 * Puts the release into its folder beside the others, or leaves nothing.
 * @throws Error that says what is wrong with it, or why it could not be had
 */
export const placeRelease = async (
  release: AgentRelease,
  { dir, fetch, signal, random }: Omit<FetchSetting, "retryMs"> & { readonly dir: string },
): Promise<string> => {
  const versions = versionsDir(dir);
  const folder = join(versions, release.version);
  const partial = join(versions, `.${release.version}.partial`);
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(join(partial, "root"), { recursive: true, mode: 0o700 });
  try {
    const artefact = join(partial, "artefact");
    const flaw = await fetchArtefact(artefact, release, { fetch, signal, retryMs: PIECE_RETRY_MS, random });
    if (flaw !== null) throw new Error(flaw.detail);
    const { unpack } = await import("../plugins/unpack.ts");
    const unpacked = await unpack(artefact, { into: join(partial, "root"), timeoutMs: UNPACK_MS });
    if ("refused" in unpacked) throw new Error(`its artefact: ${unpacked.refused}`);
    const inside = versionInside(join(partial, "root"));
    if (inside !== release.version) throw new Error(`its artefact holds version ${inside}, not ${release.version}`);
    rmSync(folder, { recursive: true, force: true });
    renameSync(join(partial, "root"), folder);
    syncFolder(versions);
    return folder;
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
};

/** All but these go: a version is some megabytes. */
export const removeOtherVersions = (dir: string, kept: ReadonlySet<string>): void => {
  for (const name of readdirSync(versionsDir(dir)))
    if (!kept.has(name)) rmSync(join(versionsDir(dir), name), { recursive: true, force: true });
};

const versionInside = (root: string): string => {
  const manifest = z
    .object({ version: SemVer })
    .safeParse(JSON.parse(readFileSync(join(root, "package.json"), "utf8")));
  if (!manifest.success) throw new Error("its package.json tells no version");
  return manifest.data.version;
};

const syncFolder = (path: string): void => {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
};
