import { createPublicKey, type KeyObject } from "node:crypto";
import { readFileSync } from "node:fs";
import type { DataDir } from "./data-dir.ts";
import type { Options } from "./options.ts";

interface Trusting {
  readonly options: Options;
  readonly dataDir: DataDir;
}

const readKeys = (paths: readonly string[]): KeyObject[] => paths.map((path) => createPublicKey(readFileSync(path)));

/** Whose commands count: the platform's own key, and those that the configuration names. */
export const trustedKeys = ({ options, dataDir }: Trusting): readonly KeyObject[] => [
  dataDir.verifyKey,
  ...readKeys(options.trust.command_keys),
];

/** Whose plugins may be installed. */
export const pluginKeys = ({ options, dataDir }: Trusting): readonly KeyObject[] => [
  dataDir.verifyKey,
  ...readKeys(options.trust.plugin_keys),
];
