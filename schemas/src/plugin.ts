import { z } from "zod";
import { ResourceLimits } from "./command.ts";
import { TargetSelector } from "./job.ts";
import { Risk } from "./remediation-run.ts";
import { UnixMs } from "./unix-ms.ts";

export const PluginName = z
  .string()
  .regex(/^[a-z][a-z0-9_.-]{0,63}$/, "want a lower-case letter, then letters, digits, _ . -");
export const SemVer = z
  .string()
  .regex(/^\d{1,6}\.\d{1,6}\.\d{1,6}(-[0-9A-Za-z.-]{1,32})?$/, "want a version such as 1.2.3");
const Sha256Hex = z.string().regex(/^[0-9a-f]{64}$/, "want 64 hex digits");

/** One executor that a plugin brings. */
export const PluginExecutor = z.strictObject({
  name: z.string().min(1).max(64),
  risk: Risk,
  /** JSON Schema (draft 2020-12, the part that zod's fromJSONSchema takes) of the arguments; whatever it does not name is refused. */
  args_schema: z.record(z.string(), z.json()),
});

/**
 * What a plugin is. The collectors and executors that ship with the agent have one too, with `run: "builtin"`.
 * static: a process per call. resident: one supervised child.
 */
export const PluginManifest = z.strictObject({
  name: PluginName,
  version: SemVer,
  kind: z.enum(["static", "resident"]),
  run: z.union([
    z.literal("builtin"),
    z.strictObject({
      /** Relative to the artefact's root; run as it stands, without a shell. */
      command: z.string().min(1).max(512),
      args: z.array(z.string().max(4096)).max(64).default([]),
    }),
  ]),
  collects: z.boolean().default(false),
  /** static plugins that collect are called this often; resident ones tell what they measure whenever they like. */
  collect_interval_ms: z.int().min(1_000).max(3_600_000).default(60_000),
  executors: z.array(PluginExecutor).max(32).default([]),
  limits: ResourceLimits.extend({
    call_timeout_ms: z.int().min(1).max(3_600_000).default(60_000),
    output_bytes_max: z.int().min(0).max(1_048_576).default(65_536),
  }).prefault({}),
  /** resident: asked this often; three failures in a row are a restart, and more than `restarts_max` restarts in ten minutes the end of this version. */
  health: z
    .strictObject({
      /** How long it may take to say that it is ready. */
      ready_ms: z.int().min(100).max(600_000).default(10_000),
      interval_ms: z.int().min(200).max(600_000).default(10_000),
      timeout_ms: z.int().min(100).max(60_000).default(2_000),
      restarts_max: z.int().min(0).max(100).default(5),
    })
    .prefault({}),
  /** Of the configuration that it is given at its start; JSON Schema, as above. */
  config_schema: z.record(z.string(), z.json()).default({ type: "object", properties: {} }),
});
export type PluginManifest = z.infer<typeof PluginManifest>;

/**
 * A plugin as it is published: the manifest, the digest of its artefact (a .tar.gz that holds the same manifest as plugin.json), and the
 * publisher's signature (plugin-signature.ts).
 */
export const PluginRelease = z.strictObject({
  manifest: PluginManifest,
  /** Of the artefact's bytes; empty for what ships with the agent. */
  sha256: z.union([Sha256Hex, z.literal("")]),
  size_bytes: z.int().min(0).max(268_435_456),
  key_id: z.string().max(64),
  signature: z.base64().max(128),
});
export type PluginRelease = z.infer<typeof PluginRelease>;

/** What an agent should have, as the control plane decided it for this host. */
export const DesiredPlugin = z.strictObject({
  release: PluginRelease,
  config: z.record(z.string(), z.json()).default({}),
  /** Stays at this version, also when a newer default is published. An agent goes back to a lower version only when it is pinned. */
  pinned: z.boolean().default(false),
  /** False: kept, and not run. What ships with the agent is turned off so. */
  enabled: z.boolean().default(true),
  /** Of the wish. A version that failed is tried again when this has changed. */
  wished_at_unix_ms: UnixMs,
});
export type DesiredPlugin = z.infer<typeof DesiredPlugin>;

/** How far a new release of a default plugin has come. */
export const PluginRollout = z.strictObject({
  /** Of `STEPS_PERCENT` (control/plugins/rollout.ts). */
  step: z.int().min(0).max(16),
  /** Hosts whose digest is at most this have the new release, all others `previous`. 2³² - 1 is everybody. */
  up_to_digest: z.int().min(0).max(4_294_967_295),
  step_began_unix_ms: UnixMs,
  /** What was wished before; null: nothing. */
  previous: DesiredPlugin.nullable(),
  /** Why it goes no further; empty while it goes well. */
  halted: z.string().max(1_000),
});
export type PluginRollout = z.infer<typeof PluginRollout>;

/** The value on `agent.plugins`, keyed by `<plugin>@<selector's digest>`: which hosts should have which release. A tombstone takes the wish back. */
export const PluginWish = DesiredPlugin.extend({
  targets: TargetSelector,
  wished_by: z.string().min(1).max(255),
  /** null: all that it selects, at once. */
  rollout: PluginRollout.nullable().default(null),
});
export type PluginWish = z.infer<typeof PluginWish>;

export const DesiredPlugins = z.strictObject({
  /** When the newest of the wishes was made or moved, in Unix milliseconds: for people to compare. */
  revision: z.int().min(0),
  plugins: z.array(DesiredPlugin).max(64),
});
export type DesiredPlugins = z.infer<typeof DesiredPlugins>;

/** How one plugin fares on one host, in the agent's inventory: what runs, and what failed last with its reason. */
export const PluginStatus = z.strictObject({
  name: PluginName,
  version: SemVer,
  state: z.enum(["running", "idle", "starting", "backing_off", "failed", "disabled"]),
  pinned: z.boolean(),
  /** What the control plane wishes; null: nothing, or it came with the agent. */
  desired_version: SemVer.nullable().default(null),
  /** Why it does not run as it should; empty when it does. */
  problem: z.string().max(1_000).default(""),
  last_failed: z.strictObject({ version: SemVer, reason: z.string().max(1_000) }).nullable(),
});
export type PluginStatus = z.infer<typeof PluginStatus>;
