import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Options } from "../options.ts";
import { type Platform, type PlatformSetting, startPlatform } from "../platform.ts";
import { SITE_V8_ARGS, siteMemoryEnv } from "../site-memory.ts";
import { DEFAULTS, readConfiguration } from "./configuration.ts";
import { DEFAULT_CONFIG } from "./configuration-file.ts";
import { foldersOf, followConfiguration } from "./follow-configuration.ts";
import { seconds, style } from "./style.ts";
import { STOPPED_EARLY, VERSION, type VerbInput } from "./verb.ts";

const PROGRAM = fileURLToPath(new URL("../../bin/homeostat.mjs", import.meta.url));

/** null when Ctrl-C came while the start was waiting for a bus or a store. */
const startUnlessStopped = async (setting: PlatformSetting): Promise<Platform | null> => {
  try {
    return await startPlatform(setting);
  } catch (error) {
    if (setting.signal.aborted) return null;
    throw error;
  }
};

/** Under its own pid, so that who supervises it notices nothing. Not where a parent speaks with it, nor where a system cannot (execve(2)). */
const beginAgain = (args: readonly string[], env: Record<string, string | undefined>): void => {
  if (process.execve === undefined || process.platform !== "linux" || process.connected) return;
  process.execve(
    process.execPath,
    [process.argv0, ...SITE_V8_ARGS, ...process.execArgv, PROGRAM, "start", ...args],
    env,
  );
};

/** Runs the platform until Ctrl-C. */
export const start = async (input: VerbInput & { readonly configPath: string | null }): Promise<number> => {
  const startedAtMs = performance.now();
  const { options, source, read } = readConfiguration(input.configPath);
  const siteEnv = siteMemoryEnv(options, input.env);
  if (siteEnv !== null) beginAgain(input.args, siteEnv);
  let newest = options;
  const readAgain = (): Options => {
    newest = read?.() ?? options;
    return newest;
  };
  const stopped = Promise.withResolvers<void>();
  input.signal.addEventListener("abort", () => stopped.resolve(), { once: true });
  const platform = await startUnlessStopped({
    options,
    readOptions: read === null ? null : readAgain,
    env: input.env,
    version: VERSION,
    now: Date.now,
    signal: input.signal,
    onWaiting: (what) => input.err(`waiting for ${what}`),
  });
  if (platform === null) {
    input.out("stopped before it was ready; nothing is lost.");
    return STOPPED_EARLY;
  }
  const { about } = platform;
  const line = (name: string, value: string): void => input.out(`  ${style("dim", name.padEnd(9))} ${value}`);
  input.out(
    `${style("bold", `Homeostat ${VERSION}`)} ${style("green", `ready in ${seconds(performance.now() - startedAtMs)}`)}`,
  );
  line("watches", about.watches);
  line("receives", about.receives);
  line("heals", about.heals);
  line("serves", about.serves);
  line("bus", about.bus);
  line("store", about.store);
  if (platform.url !== null) line("API", `${platform.url}  (start page, /api/v1/openapi.json)`);
  line("config", source === DEFAULTS ? `${source}; put yours into ./${DEFAULT_CONFIG}` : source);
  line("data", `${resolve(options.data_dir)}  (log: log/homeostat.log)`);
  const next = `Try next: ${style("cyan", "npm run drill -- service-crash")}, or ${style("cyan", "npx homeostat incidents")}. `;
  input.out(`${platform.url === null ? "" : next}Ctrl-C stops it.`);
  const unfollow = read === null ? undefined : followConfiguration(platform, () => foldersOf(source, newest), input);
  await stopped.promise;
  unfollow?.();
  input.out("stopping …");
  await platform.stop();
  input.out("stopped; the data stays, and the next start goes on from here.");
  return 0;
};
