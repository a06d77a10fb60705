import { parseArgs } from "node:util";
import { Job } from "@homeostat/schemas";
import { z } from "zod";
import {
  bashCompletion,
  type Completed,
  fishCompletion,
  NAME_KINDS,
  type NameKind,
  zshCompletion,
} from "../completion.ts";
import { type ApiClient, ApiError, connectTo } from "./client.ts";
import { FLAG_VALUES } from "./flag-values.ts";
import { FLAGS } from "./flags.ts";
import { UsageError, type Verb } from "./verb.ts";

/** Somebody waits for the Tab key. */
const NAMES_MS_MAX = 1_500;
const NAMES_MAX = 1_000;
/** What goes into a shell's list of words must be nothing else to the shell. */
const WORD = /^[A-Za-z0-9][A-Za-z0-9._@:/-]*$/;

/** Verbs whose argument is a name that the platform knows. */
const ARGUMENTS: Readonly<Record<string, NameKind>> = {
  "agents show": "hosts",
  shell: "hosts",
  "enroll revoke": "hosts",
  "enroll quarantine": "hosts",
  "enroll readmit": "hosts",
  job: "jobs",
  cancel: "jobs",
  approve: "jobs",
  reject: "jobs",
  "plugins wish": "plugins",
  "plugins unwish": "plugins",
  "plugins status": "plugins",
};

/** Of every verb; `completion` itself offers the shells. */
export const completedVerbs = (): readonly Completed[] =>
  Object.entries(FLAGS).map(([verb, options]) => {
    const flags = Object.entries<{ readonly type: string }>(options);
    return {
      verb,
      flags: flags.map(([name]) => name),
      valued: flags.filter(([, { type }]) => type === "string").map(([name]) => name),
      values: Object.fromEntries(
        flags.flatMap(([name]) => {
          const known = FLAG_VALUES[`${verb} ${name}`] ?? FLAG_VALUES[name];
          return known === undefined ? [] : [[name, known]];
        }),
      ),
      names: ARGUMENTS[verb] ?? null,
    };
  });

const Agents = z.object({ agents: z.array(z.object({ host: z.string(), site: z.string() })) });
const Jobs = z.object({ jobs: z.array(Job.pick({ job_id: true })) });
const Plugins = z.object({ releases: z.array(z.object({ manifest: z.object({ name: z.string() }) })) });

const namesOf = async (api: ApiClient, kind: NameKind): Promise<readonly string[]> => {
  const asking = { timeoutMs: NAMES_MS_MAX };
  if (kind === "jobs") return (await api.get("/api/v1/jobs?limit=50", Jobs, asking)).jobs.map(({ job_id }) => job_id);
  if (kind === "plugins")
    return (await api.get("/api/v1/plugins", Plugins, asking)).releases.map(({ manifest }) => manifest.name);
  const { agents } = await api.get(`/api/v1/agents?limit=${NAMES_MAX}`, Agents, asking);
  return agents.map(({ host, site }) => (kind === "sites" ? site : host));
};

const SHELLS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion } as const;

const isShell = (name: string): name is keyof typeof SHELLS => Object.hasOwn(SHELLS, name);
const isKind = (name: string): name is NameKind => NAME_KINDS.some((kind) => kind === name);

/** `homeostat completion bash|zsh|fish`, and for those scripts `homeostat completion names KIND`. */
export const completion: Verb = async ({ args, env, out }) => {
  const options = FLAGS.completion;
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
  const [shell = "", kind = ""] = positionals;
  if (isShell(shell)) {
    out(SHELLS[shell](completedVerbs()).trimEnd());
    return 0;
  }
  if (shell !== "names" || !isKind(kind)) throw new UsageError(`completion ${shell}: want bash, zsh or fish`);
  try {
    const names = await namesOf(connectTo(values, env), kind);
    for (const name of new Set(names)) if (WORD.test(name)) out(name);
    return 0;
  } catch (error) {
    // Nothing to offer: the Tab key does not speak.
    if (error instanceof ApiError) return 1;
    throw error;
  }
};
