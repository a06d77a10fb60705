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
/** They do nothing but show, some of them without end: once nobody reads it, they are over. */
const ONLY_SHOW: ReadonlySet<string> = new Set(["audit", "replay"]);
const unwritten: Error[] = [];
process.stdout.on("error", (error) => {
  if (!("code" in error && error.code === "EPIPE")) unwritten.push(error);
  // Whoever read our output has gone (`| head`): what is under way is still brought to its end, in silence.
  else if (ONLY_SHOW.has(verb)) stopping.abort("SIGPIPE");
});
process.stderr.on("error", () => undefined);

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
// A stream tells that a write has failed after the code that wrote.
await new Promise(setImmediate);
const [failure] = unwritten;
if (failure !== undefined) {
  process.stderr.write(`homeostat ${verb}: not all of its output could be written: ${failure.message}\n`);
  process.exitCode ||= 1;
}
// Timers of libraries (and a library thread of the engine's child) must not keep a finished command alive.
process.exit();
