import { Risk } from "@homeostat/schemas";
import { z } from "zod";

const MINUTE_MS = 60_000;

/**
 * Risks of what ships with the agent. What only looks is read_only; what can be undone or does itself no lasting harm is reversible; what
 * deletes, opens a free hand on the host or changes the agent itself is destructive. `exec.run` runs only what the host's own
 * configuration lists, which is why it is not. An executor that stands nowhere is `risk_unknown`.
 */
const RISKS: Readonly<Record<string, Risk>> = {
  "service.restart": "reversible",
  "exec.run": "reversible",
  "files.free": "destructive",
  "shell.open": "destructive",
  "agent.update": "destructive",
  "agent.rollback": "destructive",
  "plugin.install": "destructive",
  "plugin.upgrade": "destructive",
  "plugin.remove": "destructive",
  "plugin.rollback": "reversible",
};

export const PolicyConfig = z.strictObject({
  /** By executor; added to the risks that are known of what ships with the agent, and stronger than they. */
  risks: z.record(z.string().min(1).max(64), Risk).default({}),
  /** Of an executor that neither this configuration nor the agent's own list nor a published plugin names. */
  risk_unknown: Risk.default("destructive"),
  /** Approvals by other people before a job of this risk runs. */
  approvals: z
    .strictObject({
      read_only: z.int().min(0).max(16).default(0),
      reversible: z.int().min(0).max(16).default(0),
      destructive: z.int().min(0).max(16).default(1),
    })
    .prefault({}),
  /**
   * By executor, in the place of what its risk asks for. Agents have a floor of their own (`approvals_min`), which no setting here can
   * lower: to let a shell open at night without a second person, `shell.open: 0` has to stand here, and in `approved_by_declaration` there.
   */
  approvals_of: z.record(z.string().min(1).max(64), z.int().min(0).max(16)).default({}),
  /** Executors that take a role of their own in the place of `operator`. */
  roles: z.record(z.string().min(1).max(64), z.enum(["admin", "shell"])).default({ "shell.open": "shell" }),
  hosts_per_job_max: z.int().min(1).max(20_000).default(20_000),
  /** Awaiting approval, running or stopping. */
  jobs_open_max: z.int().min(1).max(100_000).default(10_000),
  /** Of one principal; refused ones count. */
  requests_per_minute_max: z.int().min(1).max(1_000_000).default(600),
  /** A job that nobody has approved by then is over. */
  approval_expires_ms: z
    .int()
    .min(MINUTE_MS)
    .max(24 * 60 * MINUTE_MS)
    .default(60 * MINUTE_MS),
});
export type PolicyConfig = z.infer<typeof PolicyConfig>;

export const ControlConfig = z.strictObject({
  name: z.string().min(1).max(64).default("control"),
  /** Where site servers on other machines connect, with mutual TLS; null: only those in this process. */
  listen: z
    .strictObject({
      host: z.string().min(1).max(255).default("0.0.0.0"),
      port: z.int().min(0).max(65_535).default(9445),
    })
    .nullable()
    .default(null),
  /** By site, the `host:port` of its servers that a new host is told of. */
  site_servers: z.record(z.string().min(1).max(64), z.array(z.string().min(1).max(300)).max(64)).default({}),
  policy: PolicyConfig.prefault({}),
  /** A host that was not heard of for this long is offline. */
  offline_after_ms: z.int().min(1_000).max(3_600_000).default(60_000),
  /** Beyond not_after and the time limit, an outcome is awaited this long before it is called lost. */
  lost_grace_ms: z.int().min(1_000).max(3_600_000).default(60_000),
});
export type ControlConfig = z.infer<typeof ControlConfig>;

/** Executors have whatever names plugins give them, and sites people: one called `constructor` must not be given what every object has. */
export const setFor = <T>(settings: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(settings, name) ? settings[name] : undefined;

/** `published`: what a plugin declares counts for what is not known otherwise, so that no plugin makes a risk of the agent's own less. */
export const riskOf = (executor: string, { risks, risk_unknown }: PolicyConfig, published: Risk | null): Risk =>
  setFor(risks, executor) ?? setFor(RISKS, executor) ?? published ?? risk_unknown;
