import { AgentConfig } from "@homeostat/agent";
import { ControlConfig } from "@homeostat/agent/control";
import { StoreConfig } from "@homeostat/analytics";
import { DetectorsConfig } from "@homeostat/detectors";
import { IngestConfig, OtlpTopics, ReceiversConfig, SyslogConfig } from "@homeostat/ingest";
import { RemediationConfig, WebhookConfig } from "@homeostat/remediation";
import { IdentityName, SiteName } from "@homeostat/schemas";
import { z } from "zod";
import { Secret } from "./secret.ts";
import { TranscriptsConfig } from "./transcripts.ts";
import { Users } from "./users.ts";
import { describeIssue, readYaml } from "./yaml-file.ts";

const MIB = 1_048_576;

const Bus = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("embedded"),
    /** The most that the log on disk may take; at the cap producers are told to wait. */
    bytes_max: z
      .int()
      .min(64 * MIB)
      .default(4096 * MIB),
  }),
  z.strictObject({
    kind: z.literal("kafka"),
    brokers: z
      .array(z.string().regex(/^[^\s:]+:\d{1,5}$/, "want host:port"))
      .min(1)
      .max(64),
    tls: z.boolean().default(false),
    sasl: z
      .strictObject({
        mechanism: z.enum(["plain", "scram-sha-256", "scram-sha-512"]),
        username: z.string().min(1),
        password: Secret,
      })
      .optional(),
  }),
]);

const Store = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("embedded"),
    memory_bytes_max: z
      .int()
      .min(256 * MIB)
      .default(1024 * MIB),
    /** A directory on a second, slower disk, for rows that grow old: see `analytics.cold`. */
    cold_dir: z.string().min(1).max(4096).optional(),
  }),
  z.strictObject({
    kind: z.literal("clickhouse"),
    url: z.url({ protocol: /^https?$/ }),
    username: z.string().min(1).default("default"),
    password: Secret.optional(),
  }),
]);

const Http = z.strictObject({
  host: z.string().min(1).default("127.0.0.1"),
  /** 0 takes a free port; `homeostat status` tells which. */
  port: z.int().min(0).max(65_535).default(7070),
});

/** What telemetry of other makes comes through; a sender's token comes from a file or the environment, like every secret. */
const Telemetry = ReceiversConfig.extend({
  senders: z
    .array(
      z.strictObject({
        name: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, "want 1 to 64 letters, digits, dots, dashes or underscores"),
        token: Secret,
      }),
    )
    .max(200)
    .default([]),
  syslog: SyslogConfig.prefault({}),
  /** Topics on Kafka that an OpenTelemetry Collector writes to. */
  otlp_topics: OtlpTopics,
}).superRefine(({ senders, syslog, otlp_topics }, context) => {
  if (senders.length === 0 && !syslog.enabled && otlp_topics.length === 0)
    context.addIssue({
      code: "custom",
      path: ["senders"],
      message: "want at least one sender with a token, syslog, or otlp_topics: nobody sends without",
    });
  const names = senders.map(({ name }) => name);
  names.forEach((name, index) => {
    if (names.indexOf(name) < index)
      context.addIssue({
        code: "custom",
        path: ["senders", index, "name"],
        message: `${name} is the name of another sender`,
      });
  });
});

/** A receiver's token comes from a file or the environment, like every secret. */
const Receivers = z
  .array(WebhookConfig.extend({ bearer_token: Secret.optional() }))
  .max(20)
  .superRefine((receivers, context) => {
    const names = receivers.map(({ name }) => name);
    names.forEach((name, index) => {
      if (names.indexOf(name) < index)
        context.addIssue({ code: "custom", path: [index, "name"], message: `${name} is the name of another receiver` });
    });
  })
  .default([]);

const Address = z.string().regex(/^[^\s:]+:\d{1,5}$|^\[[0-9a-fA-F:]+\]:\d{1,5}$/, "want host:port");

/** A site server: agents of one site connect to it. Without this nobody can. */
const SiteServer = z.strictObject({
  /** The site whose agents it serves. */
  name: SiteName,
  /** Unique within the site. */
  server: IdentityName.default("site-1"),
  listen: z
    .strictObject({
      host: z.string().min(1).max(255).default("0.0.0.0"),
      port: z.int().min(0).max(65_535).default(9444),
    })
    .prefault({}),
  /** Where agents reach the servers of this site, this one included; they are told. By default this host's name and port. */
  advertise: z.array(Address).max(32).default([]),
  /** Control planes in other processes, tried in turn; empty: the one in this process. */
  control: z.array(Address).max(8).default([]),
  /** For the first start of a server in a process of its own: `homeostat enroll token --for site`. */
  token: Secret.optional(),
  /** One secret for all servers of a site: agents that change servers resume their TLS sessions, which costs a fraction of a handshake. */
  ticket_key: Secret.optional(),
});

const Trust = z.strictObject({
  /** PEM files of the public keys whose commands this agent obeys, beside the key of the platform in its own process. */
  command_keys: z.array(z.string().min(1).max(4096)).max(16).default([]),
  /** PEM files of the public keys of whoever publishes plugins, beside the platform's own. */
  plugin_keys: z.array(z.string().min(1).max(4096)).max(16).default([]),
});

/** Which parts run in this process. One machine runs all of them; a fleet spreads them. */
export const PARTS = ["agent", "receivers", "ingest", "detectors", "remediation", "control", "site", "api"] as const;

/** Parts that the embedded bus does without. */
const MAY_BE_ELSEWHERE: ReadonlySet<string> = new Set(["agent", "receivers", "site"]);

export const Options = z
  .strictObject({
    data_dir: z.string().min(1).default(".homeostat"),
    parts: z
      .array(z.enum(PARTS))
      .min(1)
      .default([...PARTS]),
    http: Http.prefault({}),
    log_level: z.enum(["debug", "info", "warn", "error"]).default("info"),
    bus: Bus.prefault({ kind: "embedded" }),
    store: Store.prefault({ kind: "embedded" }),
    /** Who may ask the API for what; without users the data directory's own token may do everything. */
    users: Users,
    /** YAML files with one runbook each, named from this file's folder. */
    runbook_files: z.array(z.string().min(1).max(4096)).max(200).default([]),
    /** A folder, named from this file's: every *.yaml in it holds one rule or a list of them, beside `detectors.rules`. */
    rules_dir: z.string().min(1).max(4096).optional(),
    /** Telemetry from senders of other makes: OTLP, Prometheus remote write, Loki, Elasticsearch, syslog. Without this nothing listens. */
    receivers: Telemetry.optional(),
    control: ControlConfig.prefault({}),
    transcripts: TranscriptsConfig.prefault({}),
    site: SiteServer.optional(),
    trust: Trust.prefault({}),
    agent: AgentConfig.prefault({}),
    analytics: StoreConfig.prefault({}),
    ingest: IngestConfig.prefault({}),
    detectors: DetectorsConfig.prefault({}),
    remediation: RemediationConfig.extend({ receivers: Receivers }).prefault({}),
  })
  .superRefine((options, context) => {
    const has = (part: (typeof PARTS)[number]) => options.parts.includes(part);
    const problem = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
    const isSiteApart = has("site") && options.site !== undefined && options.site.control.length > 0;
    const needsNoStore = options.parts.every((part) => MAY_BE_ELSEWHERE.has(part));
    if (isSiteApart && has("control"))
      problem("site", "`control` is for a site server in a process of its own: this process has control itself");
    if (has("site") && options.site !== undefined && !isSiteApart && !has("control"))
      problem("site", "a site server away from its platform needs `control`, a list of host:port");
    if (options.bus.kind === "embedded" && !PARTS.every((part) => MAY_BE_ELSEWHERE.has(part) || has(part)))
      problem("parts", "the embedded bus lives in one process: leave these parts on, or point `bus` at Kafka");
    if (options.store.kind === "embedded" && !needsNoStore && !has("ingest"))
      problem("store", "the embedded store belongs to the process that ingests: point `store` at a ClickHouse server");
    if (options.store.kind === "embedded" && options.analytics.cold !== null && options.store.cold_dir === undefined)
      problem("analytics", "`cold` needs a second disk: set `store.cold_dir`");
    if (has("agent") && !has("remediation") && options.trust.command_keys.length === 0)
      problem("trust", "an agent away from its platform needs command_keys, or it would refuse every command");
  });
export type Options = z.infer<typeof Options>;

/** Everything that is wrong with a configuration, one line each: `path: what`. */
export class OptionsError extends Error {
  override readonly name = "OptionsError";
  readonly problems: readonly string[];
  constructor(source: string, problems: readonly string[]) {
    super([`${source} was refused:`, ...problems.map((problem) => `  - ${problem}`)].join("\n"));
    this.problems = problems;
  }
}

/**
 * Parses and validates a YAML configuration; the result is frozen.
 * @throws OptionsError with all problems at once, each with its path and line.
 */
export const parseOptions = (text: string, source: string): Options => {
  const { value, problems, lineOf } = readYaml(text);
  if (problems.length > 0) throw new OptionsError(source, problems);
  const result = Options.safeParse(value ?? {});
  if (!result.success)
    throw new OptionsError(
      source,
      result.error.issues.flatMap((issue) => describeIssue(issue, lineOf)),
    );
  return deepFreeze(result.data);
};

export const deepFreeze = <T>(value: T): T => {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const member of Object.values(value)) deepFreeze(member);
  }
  return value;
};
