import type { Options } from "./options.ts";

const THRESHOLD = "MALLOC_MMAP_THRESHOLD_";
/**
 * mallopt(3), M_MMAP_THRESHOLD: the buffers of 16 KiB and more that TLS takes for each connection get pages of their own, and only those
 * that are used. A sixth of what an idle agent costs. Compressing takes 4 times as long with it, so that it is only for who does nothing
 * of that kind.
 */
const BYTES = "16384";
/**
 * For V8, in MiB. A site server makes few objects and many buffers that live for a moment: with the default of 16 for young objects the
 * buffers reach the limit first, and what is begun then is a marking of all ten thousand agents' objects, once or twice a second. It is 4 KB
 * of what an idle agent costs, too.
 */
export const SITE_V8_ARGS: readonly string[] = ["--max-semi-space-size=1"];

/** The environment that this process is to be begun again with, since malloc looks at it once, or null. Whoever has set it is left alone. */
export const siteMemoryEnv = (
  { parts, site }: Pick<Options, "parts" | "site">,
  env: Readonly<Record<string, string | undefined>>,
): Record<string, string | undefined> | null => {
  const isOnlySite = site !== undefined && parts.every((part) => part === "site");
  return isOnlySite && env[THRESHOLD] === undefined ? { ...env, [THRESHOLD]: BYTES } : null;
};
