import { helpOf, overview } from "./help.ts";
import { UsageError, VERSION, type Verb } from "./verb.ts";

const STATUS_BAD_REQUEST = 400;

/** What the platform could not make sense of was called wrongly. */
const isBadRequest = (error: unknown): error is Error =>
  error instanceof Error && error.name === "ApiError" && "status" in error && error.status === STATUS_BAD_REQUEST;

/** Each is loaded when it is asked for: a verb must not wait for what another one needs. */
const lazily =
  (load: () => Promise<Verb>): Verb =>
  async (input) => {
    const verb = await load();
    try {
      return await verb(input);
    } catch (error) {
      throw isBadRequest(error) ? new UsageError(error.message, { cause: error }) : error;
    }
  };

const help: Verb = async ({ args, out }) => {
  const text = args.length === 0 ? overview() : helpOf(args);
  if (text === null) throw new UsageError(`there is no ${args.join(" ")}: homeostat help names all`);
  out(text);
  return 0;
};

const version: Verb = async ({ out }) => {
  out(VERSION);
  return 0;
};

export const VERBS: Readonly<Record<string, Verb>> = {
  start: lazily(async () => (await import("./platform-verbs.ts")).start),
  backtest: lazily(async () => (await import("./platform-verbs.ts")).backtest),
  drill: lazily(async () => (await import("./platform-verbs.ts")).drill),
  status: lazily(async () => (await import("./platform-verbs.ts")).status),
  reload: lazily(async () => (await import("./platform-verbs.ts")).reload),
  "check-config": lazily(async () => (await import("./platform-verbs.ts")).checkConfig),
  incidents: lazily(async () => (await import("./incident-verbs.ts")).incidents),
  report: lazily(async () => (await import("./incident-verbs.ts")).report),
  approve: lazily(async () => (await import("./incident-verbs.ts")).approve),
  reject: lazily(async () => (await import("./incident-verbs.ts")).reject),
  acknowledge: lazily(async () => (await import("./incident-verbs.ts")).acknowledge),
  dlq: lazily(async () => (await import("./dlq.ts")).dlq),
  ledger: lazily(async () => (await import("./ledger.ts")).ledger),
  agents: lazily(async () => (await import("./agents.ts")).agents),
  run: lazily(async () => (await import("./run.ts")).run),
  jobs: lazily(async () => (await import("./jobs.ts")).jobs),
  job: lazily(async () => (await import("./jobs.ts")).job),
  cancel: lazily(async () => (await import("./jobs.ts")).cancel),
  plugins: lazily(async () => (await import("./plugins.ts")).plugins),
  enroll: lazily(async () => (await import("./enroll.ts")).enroll),
  audit: lazily(async () => (await import("./audit.ts")).audit),
  shell: lazily(async () => (await import("./shell.ts")).shell),
  replay: lazily(async () => (await import("./replay.ts")).replay),
  simulate: lazily(async () => (await import("./simulate.ts")).simulate),
  completion: lazily(async () => (await import("./completion.ts")).completion),
  help,
  version,
};
