import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { FLAGS } from "./flags.ts";
import { durationIn } from "./job-request.ts";
import { wholeNumberIn } from "./targets.ts";
import { printable } from "./terminal-text.ts";
import { UsageError, type Verb } from "./verb.ts";

const AGENTS_MAX = 100_000;
const WORKERS_MAX = 64;

const needed = (flag: string, value: string | undefined, what: string): string => {
  if (value === undefined) throw new UsageError(`give ${what}: --${flag}`);
  return value;
};

const serversIn = (text: string): string[] =>
  text.split(",").map((server) => {
    if (!/^\S+:\d{1,5}$/.test(server)) throw new UsageError(`--servers ${text}: want HOST:PORT[,…]`);
    return server;
  });

/** `homeostat simulate`: virtual agents, with the real protocol, until Ctrl-C. */
export const simulate: Verb = async ({ args, out, err, signal }) => {
  const { values } = parseArgs({ args: [...args], options: FLAGS.simulate });
  const { simulate: begin } = await import("@homeostat/agent/simulate");
  const quiet = (): void => undefined;
  const tokenFile = values["token-file"];
  const simulation = await begin({
    agents: wholeNumberIn("agents", values.agents, [1, AGENTS_MAX]),
    servers: serversIn(needed("servers", values.servers, "the site servers, HOST:PORT[,…]")),
    token: tokenFile === undefined ? null : readFileSync(tokenFile, "utf8").trim(),
    dir: needed("dir", values.dir, "a folder for the identities and journals of the virtual agents"),
    hostPrefix: values.prefix,
    heartbeatMs: durationIn("heartbeat", values.heartbeat, ["1s", "60m"]),
    workers: wholeNumberIn("workers", values.workers, [1, WORKERS_MAX]),
    markerDir: null,
    monotonicMs: () => performance.now(),
    log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
    onEvent: (event) => {
      if (event.kind === "problem") err(printable(event.message));
      else if (event.kind === "worker_died") err(`worker ${event.worker} ended: ${printable(event.reason)}`);
      else {
        const { agents, enrolled, connected, sealed, commands, errors } = event.counts;
        out(
          `${agents} agents: ${enrolled} enrolled, ${connected} connected, ${sealed} sealed; ${commands} commands, ${errors} errors`,
        );
      }
    },
  });
  const stopped = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => stopped.resolve(), { once: true });
  if (signal.aborted) stopped.resolve();
  try {
    // One that cannot enrol ends all: fewer agents than were asked for measure something else.
    await Promise.race([stopped.promise, simulation.ready().then(() => stopped.promise)]);
  } catch (error) {
    const [why = ""] = (error instanceof Error ? error.message : String(error)).split("\n", 1);
    throw new Error(printable(why), { cause: error });
  } finally {
    await simulation.stop();
  }
  return 0;
};
