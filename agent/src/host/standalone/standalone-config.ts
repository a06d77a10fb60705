import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, isAbsolute, resolve } from "node:path";
import { z } from "zod";
import { AgentConfig } from "../config.ts";

const MIB = 1_048_576;
const AbsolutePath = z.string().max(4096).refine(isAbsolute, { error: "must be an absolute path" });

/** What the agent may take of the host for itself; commands and plugins have limits of their own. */
export const SelfLimits = z.strictObject({
  /** Of one core, over a minute. Above it the agent looks less often and reads logs more slowly, and says so. */
  cpu_percent: z.number().min(0.1).max(400).default(5),
  /** Resident. Above nine tenths it slows down as above; above all of it, for a minute, it begins anew. */
  memory_bytes: z
    .int()
    .min(64 * MIB)
    .default(160 * MIB),
});
export type SelfLimits = z.infer<typeof SelfLimits>;

export const UpdateConfig = z.strictObject({
  /** Public keys (PEM, or a file that holds one) whose releases of the agent are taken. None: it is not updated through the channel. */
  trusted_keys: z.array(z.string().min(1).max(4_096)).max(8).default([]),
  /** A new version that has not shown that it is well within this time is taken back. */
  healthy_within_ms: z.int().min(1_000).max(600_000).default(60_000),
});
export type UpdateConfig = z.infer<typeof UpdateConfig>;

export const TrustConfig = z.strictObject({
  /** Public keys (PEM, or a file that holds one) of whoever publishes plugins. None: no plugin is installed, whoever wishes it. */
  plugin_keys: z.array(z.string().min(1).max(4_096)).max(16).default([]),
});
export type TrustConfig = z.infer<typeof TrustConfig>;

/** The file of an agent that stands alone. `{}` is enough once it is enrolled. */
export const StandaloneConfig = z.strictObject({
  /** Everything that is the agent's own: identity, spool, journal, plugins, versions of itself. */
  dir: AbsolutePath.default("/var/lib/homeostat-agent"),
  /** `host:port`. Otherwise those that it was told when it was enrolled, and since. */
  servers: z
    .array(
      z
        .string()
        .max(512)
        .regex(/^\S+:\d{1,5}$/, "want host:port"),
    )
    .max(64)
    .default([]),
  log_level: z.enum(["debug", "info", "warn", "error"]).default("info"),
  limits: SelfLimits.prefault({}),
  update: UpdateConfig.prefault({}),
  trust: TrustConfig.prefault({}),
  /** What it watches, and what it may be told to do: as `agent` in the platform's configuration. */
  agent: AgentConfig.prefault({}),
});
export type StandaloneConfig = z.infer<typeof StandaloneConfig>;

/** What is wrong with a file, for people: one line each. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/**
 * Checks what was read from YAML.
 * @throws ConfigError that names every place and value
 */
export const checkConfig = (value: unknown, file: string): StandaloneConfig => {
  const parsed = StandaloneConfig.safeParse(value ?? {});
  if (parsed.success) return parsed.data;
  const lines = parsed.error.issues.map(
    ({ path, message }) => `  ${path.length === 0 ? "(file)" : path.join(".")}: ${message}`,
  );
  throw new ConfigError(`${file} cannot be used:\n${lines.join("\n")}`);
};

/**
 * Keys that are named as files, from the configuration's own folder, become what stands in them: who stays resident reads no more files.
 * @throws ConfigError for one that cannot be read, or is no Ed25519 public key
 */
export const withKeys = (config: StandaloneConfig, file: string): StandaloneConfig => {
  const read = (place: string, all: readonly string[]): string[] =>
    all.map((key, index) => keyIn(key, dirname(file), `${file} cannot be used:\n  ${place}.${index}`));
  return {
    ...config,
    update: { ...config.update, trusted_keys: read("update.trusted_keys", config.update.trusted_keys) },
    trust: { plugin_keys: read("trust.plugin_keys", config.trust.plugin_keys) },
  };
};

const keyIn = (key: string, folder: string, place: string): string => {
  try {
    const text = key.includes("-----BEGIN") ? key : readFileSync(resolve(folder, key), "utf8");
    // A private half would do as well, and does not belong here.
    if (text.includes("PRIVATE KEY")) throw new Error("that is a private key: want the public half");
    if (createPublicKey(text).asymmetricKeyType !== "ed25519") throw new Error("want an Ed25519 public key");
    return text;
  } catch (error) {
    throw new ConfigError(`${place}: ${error instanceof Error ? error.message : String(error)}`);
  }
};
