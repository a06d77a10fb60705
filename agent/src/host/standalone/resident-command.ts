import { fileURLToPath } from "node:url";

/**
 * What Node is told for a process that stays small. Measured on Node 24, x64, resident set: the optimising compilers' own pages are 8 to
 * 10 MB, so they rest until there is work for them (self/gear.ts); a young generation of 16 MB grows to 3 MB more than one of 1 MB; each
 * worker of V8's pool costs 0.5 MB. `MALLOC_ARENA_MAX=1`, which has to be set before the start, saves 1.5 MB.
 */
const FLAGS = [
  "--no-opt",
  "--no-maglev",
  "--no-sparkplug",
  "--max-semi-space-size=1",
  "--v8-pool-size=1",
  "--max-old-space-size=96",
  // Lets self/sweep.ts give back what has died old.
  "--expose-gc",
  // Node reads its 145 authorities into memory as soon as tls is loaded, and those of NODE_EXTRA_CA_CERTS: not one of them has a say here
  // (tls-lean.ts). The first two because NODE_OPTIONS may hold their opposite, which would end the process at its start.
  "--no-use-bundled-ca",
  "--no-use-system-ca",
  "--use-openssl-ca",
  // No thread that waits for a debugger.
  "--disable-sigusr1",
  "--disable-warning=ExperimentalWarning",
];

/** argv of a resident script of this release. */
export const residentCommand = (script: string, ...args: readonly string[]): string[] => {
  const path = fileURLToPath(new URL(`../../../../../lib/agent/src/host/standalone/${script}`, import.meta.url));
  return ["homeostat-agent", ...FLAGS, path, ...args];
};
