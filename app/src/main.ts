import { helpAsked } from "./cli/help.ts";
import { VERBS } from "./cli/verbs.ts";

const called = process.argv.slice(2);
const asked = helpAsked(called);
const [verb = "help", ...args] = asked === null ? called : ["help", ...asked];
const stopping = new AbortController();
const stop = (signal: NodeJS.Signals): void => {
  // A second Ctrl-C means it: the data is safe either way, since every acknowledgement is on disk.
  if (stopping.signal.aborted) process.exit(130);
  stopping.abort(signal);
};
let hangup: (() => void) | null = null;
process.on("SIGINT", stop);
process.on("SIGTERM", stop);
process.on("SIGHUP", (signal) => (hangup === null || process.stdout.isTTY ? stop(signal) : hangup()));
// Whoever read our output has gone (`| head`): what is under way is still brought to its end, in silence.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);

/** A usage error of ours, or an option that util.parseArgs does not know. */
const isCalledWrongly = (error: unknown): boolean =>
  error instanceof Error &&
  (error.name === "UsageError" || ("code" in error && String(error.code).startsWith("ERR_PARSE_ARGS")));

const run = VERBS[verb === "--version" ? "version" : verb];
if (run === undefined) {
  process.stderr.write(`homeostat: no such command: ${verb} (see: homeostat help)\n`);
  process.exit(2);
}
try {
  process.exitCode = await run({
    args,
    env: process.env,
    signal: stopping.signal,
    onHangup: (listener) => {
      hangup = listener;
    },
    out: (line) => void process.stdout.write(`${line}\n`),
    err: (line) => void process.stderr.write(`${line}\n`),
  });
} catch (error) {
  process.stderr.write(`homeostat ${verb}: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = isCalledWrongly(error) ? 2 : 1;
}
// Timers of libraries (and a library thread of the engine's child) must not keep a finished command alive.
process.exit();
