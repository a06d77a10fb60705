import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseOptions } from "../options.ts";
import { startPlatform } from "../platform.ts";
import { seconds, style } from "./style.ts";
import { VERSION, type VerbInput } from "./verb.ts";

const DEFAULT_CONFIG = "homeostat.yaml";

/** The file that was asked for, or ./homeostat.yaml when there is one, or the built-in defaults. */
const readConfiguration = (path: string | null): { text: string; source: string } => {
  try {
    return { text: readFileSync(path ?? DEFAULT_CONFIG, "utf8"), source: path ?? DEFAULT_CONFIG };
  } catch (cause) {
    const isMissing = cause instanceof Error && "code" in cause && cause.code === "ENOENT";
    if (path === null && isMissing) return { text: "", source: "built-in defaults" };
    throw new Error(`cannot read the configuration ${path ?? DEFAULT_CONFIG}: ${String(cause)}`, { cause });
  }
};

/** Runs the platform until Ctrl-C. */
export const start = async (input: VerbInput & { readonly configPath: string | null }): Promise<number> => {
  const startedAtMs = performance.now();
  const { text, source } = readConfiguration(input.configPath);
  const options = parseOptions(text, source);
  const stopped = Promise.withResolvers<void>();
  input.signal.addEventListener("abort", () => stopped.resolve(), { once: true });
  const platform = await startPlatform({
    options,
    env: input.env,
    version: VERSION,
    now: Date.now,
    signal: input.signal,
    onWaiting: (what) => input.err(`waiting for ${what}`),
  });
  const { about } = platform;
  const line = (name: string, value: string): void => input.out(`  ${style("dim", name.padEnd(9))} ${value}`);
  input.out(
    `${style("bold", `Homeostat ${VERSION}`)} ${style("green", `ready in ${seconds(performance.now() - startedAtMs)}`)}`,
  );
  line("watches", about.watches);
  line("heals", about.heals);
  line("bus", about.bus);
  line("store", about.store);
  if (platform.url !== null) line("API", `${platform.url}  (start page, /api/v1/openapi.json)`);
  line("config", source === "built-in defaults" ? `${source}; put yours into ./${DEFAULT_CONFIG}` : source);
  line("data", `${resolve(options.data_dir)}  (log: log/homeostat.log)`);
  const next = `Try next: ${style("cyan", "npm run drill -- service-crash")}, or ${style("cyan", "npx homeostat incidents")}. `;
  input.out(`${platform.url === null ? "" : next}Ctrl-C stops it.`);
  await stopped.promise;
  input.out("stopping …");
  await platform.stop();
  input.out("stopped; the data stays, and the next start goes on from here.");
  return 0;
};
