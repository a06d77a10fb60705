import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { AGENT_VERSION } from "../agent-version.ts";

/** Of a release this file is at setup/agent/src/host/standalone. */
const ROOT = fileURLToPath(new URL("../../../../../", import.meta.url));

export const isRelease = (): boolean => existsSync(join(ROOT, "lib", "agent"));

/** The release to run; from the sources one is made first, anew at every start. */
export const releaseFolder = async (dir: string): Promise<string> => {
  if (isRelease()) return ROOT;
  const out = join(dir, "from-source");
  rmSync(out, { recursive: true, force: true });
  const { buildRelease } = await import("./build.ts");
  buildRelease(out, AGENT_VERSION);
  return out;
};
