import { createAgent } from "../agent.ts";
import { LinkError } from "../link.ts";
import { createJsonLog } from "./json-log.ts";
import { readRunFile } from "./run-file.ts";
import { reachServer } from "./standalone-link.ts";

/** A second of collecting: longer than the longest of what settles, shorter than anybody's patience. */
const COLLECT_MS = 1_500;

/**
 * Started by `homeostat-agent probe` with a run file that names a scratch folder, and the folder of the agent that serves: loads all that the
 * agent loads, measures once, spools it, and shows its certificate to a server. Exits with 0, or tells why not on standard error.
 */
const main = async (): Promise<void> => {
  const [path, identityDir] = process.argv.slice(2);
  if (path === undefined || identityDir === undefined) throw new Error("want the run file and the agent's folder");
  const { config, version } = readRunFile(path);
  const log = createJsonLog("error", Date.now);
  const refuse = () => Promise.reject(new LinkError("unreachable", "a self-test sends nothing"));
  const agent = createAgent({
    // Services belong to the agent that serves; log files are only looked at by it.
    config: { ...config.agent, services: [], logs: [] },
    dir: config.dir,
    link: {
      publish: refuse,
      onOrder: async () => ({ stop: async () => undefined }),
      publishResult: refuse,
      publishProgress: () => undefined,
      publishHeartbeat: refuse,
    },
    trustedKeys: [],
    now: Date.now,
    monotonicMs: () => performance.now(),
    log,
    version,
  });
  await agent.start();
  await new Promise((resolve) => setTimeout(resolve, COLLECT_MS));
  const { ledger, problems } = agent.status();
  const bad = problems.find((problem) => problem.startsWith("collector ") || problem.startsWith("the spool"));
  if (bad !== undefined) throw new Error(bad);
  if (ledger.produced === 0) throw new Error("the collectors measured nothing");
  await reachServer({ ...config, dir: identityDir });
  process.exit(0);
};

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
