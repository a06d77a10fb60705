import { hostname } from "node:os";
import { PluginName, ResourceLimits, Risk } from "@homeostat/schemas";
import { z } from "zod";
import { ShellConfig } from "./executor/shell-config.ts";
import { AgentPolicy } from "./policy.ts";

const Name = z
  .string()
  .min(1)
  .max(128)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._@:-]*$/, "letters, digits and . _ @ : - only");
const AbsolutePath = z
  .string()
  .min(2)
  .max(4096)
  .regex(/^\/[^\0]*$/, "must be an absolute path");
const Argument = z
  .string()
  .max(4096)
  .regex(/^[^\0]*$/, "must not hold a NUL byte");
const Env = z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), Argument);

export const COLLECTOR_NAMES = [
  "cpu",
  "load",
  "memory",
  "paging",
  "filesystem",
  "disk_io",
  "network",
  "process",
  "service",
  "path",
  "agent",
] as const;
export type CollectorName = (typeof COLLECTOR_NAMES)[number];

export const EXECUTOR_NAMES = ["service.restart", "files.free", "exec.run", "shell.open"] as const;
export type ExecutorName = (typeof EXECUTOR_NAMES)[number];

/** Processes whose `comm` is exactly `match`, or whose command line holds it. */
export const ProcessOfInterest = z.strictObject({ name: Name, match: z.string().min(1).max(256) });
export type ProcessOfInterest = z.infer<typeof ProcessOfInterest>;

export const LogSource = z.strictObject({
  /** The last segment may hold `*`. */
  path: AbsolutePath.refine((path) => !path.slice(0, path.lastIndexOf("/")).includes("*"), {
    error: "only the last segment may hold *",
  }),
  service: Name,
  format: z.enum(["text", "json"]).default("text"),
  /** Where to begin in a file that has never been read and was there before the agent. */
  read_from: z.enum(["beginning", "end"]).default("beginning"),
});
export type LogSource = z.infer<typeof LogSource>;

const ProcessService = z.strictObject({
  name: Name,
  manager: z.literal("process"),
  command: Argument.min(1),
  args: z.array(Argument).max(256).default([]),
  cwd: AbsolutePath.optional(),
  /** The whole environment beside a fixed PATH: nothing is inherited. */
  env: Env.default({}),
  /** Standard output and error are appended here; by default `<dir>/services/<name>.log`. */
  log: AbsolutePath.optional(),
  stop_timeout_ms: z.int().min(100).max(600_000).default(10_000),
  start_with_agent: z.boolean().default(true),
  /** By default a service outlives the agent, and the next agent adopts it. */
  stop_with_agent: z.boolean().default(false),
});
export type ProcessService = z.infer<typeof ProcessService>;

const SystemdService = z.strictObject({
  name: Name,
  manager: z.literal("systemd"),
  unit: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9:_.@\\-]{0,254}$/, "not the name of a unit"),
});
export type SystemdService = z.infer<typeof SystemdService>;

export const SupervisedService = z.discriminatedUnion("manager", [ProcessService, SystemdService]);
export type SupervisedService = z.infer<typeof SupervisedService>;

export const DeclaredPath = z.strictObject({
  name: Name,
  path: AbsolutePath,
  limit_bytes: z.int().min(1),
  /** What may be deleted: globs (`*`, `**`, `?`) relative to the path. Nothing by default. */
  free: z.array(z.string().min(1).max(512)).max(64).default([]),
  keep_newest_files: z.int().min(0).default(1),
  keep_younger_than_s: z.int().min(0).default(60),
});
export type DeclaredPath = z.infer<typeof DeclaredPath>;

const Pattern = z.string().max(512).refine(isRegExp, { error: "not a regular expression" });
export const CommandParam = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("string"),
    enum: z.array(Argument).min(1).max(256).optional(),
    /** Must match the whole value. Without enum or pattern a value may not begin with `-`, lest it become an option. */
    pattern: Pattern.optional(),
    max_length: z.int().min(1).max(4096).default(256),
  }),
  z.strictObject({ type: z.enum(["integer", "number"]), min: z.number().optional(), max: z.number().optional() }),
  z.strictObject({ type: z.literal("boolean") }),
]);
export type CommandParam = z.infer<typeof CommandParam>;

export const DeclaredCommand = z
  .strictObject({
    name: Name,
    /** Run as it stands: no shell, no search in PATH. */
    command: AbsolutePath,
    /** Literals and `{placeholders}`; a placeholder never becomes more than one argument. */
    args: z.array(Argument).max(256).default([]),
    params: z.record(z.string().regex(/^[a-z][a-z0-9_]{0,63}$/), CommandParam).default({}),
    /** What it may do at most: a grant for less is refused. */
    risk: Risk.default("reversible"),
  })
  .superRefine((command, context) => {
    command.args.forEach((arg, index) => {
      for (const [, placeholder] of arg.matchAll(/\{([a-z][a-z0-9_]*)\}/g)) {
        if (placeholder !== undefined && command.params[placeholder] === undefined)
          context.addIssue({ code: "custom", path: ["args", index], message: `no param named ${placeholder}` });
      }
    });
  });
export type DeclaredCommand = z.infer<typeof DeclaredCommand>;

const MIB = 1_048_576;

/** As in Kubernetes: a key may have a prefix that is a domain. */
const Labels = z
  .record(
    z
      .string()
      .max(63)
      .regex(/^([a-z0-9.-]+\/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/, "not a label key"),
    z
      .string()
      .max(63)
      .regex(/^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$/, "not a label value"),
  )
  .refine((labels) => Object.keys(labels).length <= 64, { error: "at most 64 labels" });

export const SpoolConfig = z.strictObject({
  /** The oldest segment gives way beyond this; reading of log files pauses at three quarters. */
  bytes_max: z
    .int()
    .min(4 * MIB)
    .default(256 * MIB),
});

/** What commands may take of this host. */
export const CommandLimits = ResourceLimits.extend({
  /** Of one command and its children; enforced with cgroup v2 alone. */
  pids_max: z.int().min(1).max(4_194_304).default(1_024),
  /** Commands that run at the same time, and those that wait for their turn; what is more is refused. */
  concurrent_max: z.int().min(1).max(256).default(4),
  queue_max: z.int().min(1).max(10_000).default(1_000),
  /** auto: where the agent is alone in a cgroup (v2) that it may write to, as in a service with `Delegate=yes`. Otherwise ulimit and nice. */
  cgroup: z.enum(["auto", "off"]).default("auto"),
});
export type CommandLimits = z.infer<typeof CommandLimits>;

/** What one agent watches, and what it may be told to do. `{}` watches the machine and allows nothing to be changed. */
export const AgentConfig = z
  .strictObject({
    host: z.string().min(1).max(255).optional(),
    /** Of an agent that speaks to the bus itself; otherwise its identity says it. */
    site: z.string().max(64).default(""),
    /** For selecting hosts: told with every heartbeat. */
    labels: Labels.default({}),
    interval_ms: z.int().min(100).max(60_000).default(1000),
    flush_ms: z.int().min(50).max(60_000).default(1000),
    heartbeat_ms: z.int().min(1000).max(60_000).default(10_000),
    collectors: z.partialRecord(z.enum(COLLECTOR_NAMES), z.boolean()).default({}),
    processes: z.array(ProcessOfInterest).max(64).default([]),
    logs: z.array(LogSource).max(64).default([]),
    /** Log files that are open at a time; whichever has not been written to for longest is closed for another until it grows. */
    log_files_max: z.int().min(1).max(8_192).default(1_024),
    services: z.array(SupervisedService).max(64).default([]),
    paths: z.array(DeclaredPath).max(64).default([]),
    commands: z.array(DeclaredCommand).max(64).default([]),
    /** Of those that ship with the agent: a command for another is refused, unless a plugin brings it. */
    executors: z.array(z.enum(EXECUTOR_NAMES)).default([...EXECUTOR_NAMES]),
    /** Names of plugins that may be neither installed nor turned on here, whatever the control plane wishes. */
    plugins_denied: z.array(PluginName).max(128).default([]),
    /**
     * By plugin, the user that it runs as, `*` for all others: a name or number, of its own for each plugin. Only an agent that runs as root can;
     * another does not run such a plugin. Otherwise plugins run as the agent does.
     */
    plugins_run_as: z
      .record(
        z.union([PluginName, z.literal("*")]),
        z.string().regex(/^([a-z_][a-z0-9_.-]{0,31}|[1-9]\d{0,9})$/, "want a user's name or number, and not root's"),
      )
      .default({}),
    shell: ShellConfig.prefault({}),
    policy: AgentPolicy.prefault({}),
    command_limits: CommandLimits.prefault({}),
    spool: SpoolConfig.prefault({}),
  })
  .superRefine((config, context) => {
    for (const key of ["processes", "services", "paths", "commands"] as const) {
      const seen = new Set<string>();
      config[key].forEach(({ name }, index) => {
        if (seen.has(name))
          context.addIssue({ code: "custom", path: [key, index, "name"], message: `${name} is declared twice` });
        seen.add(name);
      });
    }
  });
export type AgentConfig = z.infer<typeof AgentConfig>;

/** The name that this machine goes by: the link needs it too. */
export const agentHost = (config: Pick<AgentConfig, "host">): string => config.host ?? hostname();

function isRegExp(pattern: string): boolean {
  try {
    new RegExp(pattern, "u");
    return true;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}
