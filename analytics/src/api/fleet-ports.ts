import {
  type AgentIdentity,
  type AuditRecord,
  CommandResult,
  type EnrolmentToken,
  HostName,
  InvocationState,
  Job,
  type JobRequest,
  type JobState,
  type PluginRelease,
  PluginStatus,
  type PluginWish,
  Progress,
  Risk,
  type TargetSelector,
  UnixMs,
} from "@homeostat/schemas";
import { z } from "zod";
import type { Refused } from "./api-ports.ts";
import type { Principal } from "./principal.ts";

/** A host of the fleet as control knows it. */
export const AgentRow = z.strictObject({
  host: HostName,
  /** Empty when neither identity nor heartbeat names one. */
  site: z.string(),
  labels: z.record(z.string(), z.string()),
  agent_version: z.string(),
  state: z.enum(["online", "degraded", "offline", "quarantined", "revoked"]),
  /** channel: through a site server. bus: it speaks to the bus itself and has no identity. */
  link: z.enum(["channel", "bus"]),
  /** The site server that it is connected through; null while it is not, and for agents on the bus. */
  server: z.string().nullable(),
  last_seen_unix_ms: z.number().nullable(),
  clock_skew_ms: z.number().nullable(),
  problems: z.array(z.string()).readonly(),
  plugins: z.array(PluginStatus).readonly(),
});
export type AgentRow = z.infer<typeof AgentRow>;

/** One command on one host. */
export const InvocationRow = z.strictObject({
  host: HostName,
  /** Empty while no command for this host has been sent. */
  command_id: z.string(),
  state: InvocationState,
  /** null until it has ended, and when it ended without ever having been sent. */
  result: CommandResult.nullable(),
  /** The output was let go to save memory; the table of results has it. */
  is_output_elided: z.boolean(),
  at_unix_ms: z.number(),
});
export type InvocationRow = z.infer<typeof InvocationRow>;

export const JobPreview = z.strictObject({
  hosts: z.array(HostName).readonly(),
  sites: Job.shape.sites,
  risk: Risk,
  needs_approval: z.int().min(0).describe("how many approvals by other people it waits for"),
  waves: z
    .array(z.int())
    .readonly()
    .describe("sizes of what goes out one after the other; the last is what slides behind them"),
});
export type JobPreview = z.infer<typeof JobPreview>;

/** One line of a job's stream. */
export const JobLine = z.discriminatedUnion("type", [
  /** The first line, and again when the job's own state changes. */
  z.strictObject({ type: z.literal("job"), job: Job }),
  z.strictObject({
    type: z.literal("invocation"),
    host: HostName,
    command_id: z.string(),
    state: InvocationState,
    at_unix_ms: z.number(),
  }),
  z.strictObject({
    type: z.literal("output"),
    host: HostName,
    command_id: z.string(),
    ...Progress.shape.output.unwrap().shape,
  }),
  z.strictObject({ type: z.literal("result"), result: CommandResult }),
  /** Every few seconds, so that those in between see life. */
  z.strictObject({ type: z.literal("heartbeat"), at_unix_ms: UnixMs }),
  /** The reader was too slow: so many lines of output were left out. States and results never are. */
  z.strictObject({ type: z.literal("skipped"), lines: z.int().min(1) }),
  /** The last line of a job that goes on: control does not lead here any more. Ask again, and whoever leads then tells the rest. */
  z.strictObject({ type: z.literal("left"), message: z.string() }),
  /** The last line of a job that has ended. */
  z.strictObject({ type: z.literal("end"), job: Job }),
]);
export type JobLine = z.infer<typeof JobLine>;

/** What comes from control, in this order: what the job is now, what happens, `end` or `left`. The rest is made where the stream is written. */
export type JobHappening = Exclude<JobLine, { type: "heartbeat" | "skipped" }>;

export interface JobFilter {
  readonly states?: readonly JobState[];
  readonly requested_by?: string;
  readonly executor?: string;
  /** Jobs that name this host. */
  readonly host?: string;
  readonly limit: number;
}

export interface FleetPort {
  /** Refused: a label expression that cannot be read. */
  agents(filter: {
    readonly labels?: string | undefined;
    readonly site?: string | undefined;
  }): readonly AgentRow[] | Refused;
  agent(host: string): AgentRow | null;
  submit(request: JobRequest, by: Principal): Promise<Job | Refused>;
  preview(request: JobRequest, by: Principal): JobPreview | Refused;
  /** Newest first. */
  jobs(filter: JobFilter): readonly Job[];
  /** False while another control plane leads, or none does yet: then no job is known here. */
  leads(): boolean;
  job(jobId: string): { readonly job: Job; readonly invocations: readonly InvocationRow[] } | null;
  /** The first happening comes before it returns. The function that is given back ends it. */
  follow(jobId: string, listener: (happening: JobHappening) => void): () => void;
  cancel(jobId: string, by: Principal, note: string): Promise<Job | Refused>;
  approve(jobId: string, by: Principal): Promise<Job | Refused>;
  reject(jobId: string, by: Principal, note: string): Promise<Job | Refused>;
}

/** What a person asks for. */
export interface WishRequest {
  readonly name: string;
  /** Of a published release; for what ships with the agent: null. */
  readonly version: string | null;
  readonly targets: TargetSelector;
  readonly config: PluginWish["config"];
  readonly pinned: boolean;
  readonly enabled: boolean;
  /** To all hosts at once, without steps. */
  readonly atOnce: boolean;
}

export interface PluginPort {
  releases(): readonly PluginRelease[];
  wishes(): readonly PluginWish[];
  publish(release: unknown, artefact: Buffer, by: Principal): Promise<PluginRelease | Refused>;
  wish(request: WishRequest, by: Principal): Promise<PluginWish | Refused>;
  unwish(name: string, targets: TargetSelector, by: Principal): Promise<PluginWish | Refused>;
}

export interface TokenRequest {
  readonly for: "agent" | "site";
  readonly site: string;
  /** Only this host may use it; null: any. */
  readonly host: string | null;
  /** A host that is enrolled already may enrol again with it. */
  readonly again: boolean;
  readonly uses: number;
  readonly ttl_ms: number;
}

/** Whose identity: names of site servers are of their site alone. */
export type IdentitySubject =
  | { readonly kind: "agent"; readonly host: string }
  | { readonly kind: "site"; readonly site: string; readonly host: string };

export interface EnrolmentPort {
  identities(): readonly AgentIdentity[];
  tokens(): readonly EnrolmentToken[];
  /** `text` is told once, here. */
  createToken(request: TokenRequest, by: Principal): Promise<{ text: string; token: EnrolmentToken } | Refused>;
  withdrawToken(tokenId: string, by: Principal): Promise<EnrolmentToken | Refused>;
  /** A site server is sent no commands, so that it cannot be quarantined: refused. */
  change(
    whose: IdentitySubject,
    to: "revoke" | "quarantine" | "readmit",
    by: Principal,
    reason: string,
  ): Promise<AgentIdentity | Refused>;
}

/** Whether the whole log is what was written; otherwise the first flaw, in words, and where it is. */
export const AuditVerdict = z.discriminatedUnion("ok", [
  z.strictObject({
    ok: z.literal(true),
    records: z.int().min(0),
    /** Whoever writes it down elsewhere can see later that nothing was cut off. */
    head_sha256: z.string(),
  }),
  z.strictObject({ ok: z.literal(false), records: z.int().min(0), at_sequence: z.int().min(0), flaw: z.string() }),
]);
export type AuditVerdict = z.infer<typeof AuditVerdict>;

export interface AuditPort {
  /** Records from this number on. */
  read(from: number, limit: number): Promise<readonly AuditRecord[]>;
  verify(): Promise<AuditVerdict>;
}

/** What the agent platform gives to the API; absent where control does not run. */
export interface AgentPlatform {
  readonly fleet: FleetPort;
  readonly plugins: PluginPort;
  readonly enrolment: EnrolmentPort;
  readonly audit: AuditPort;
  readonly shell: ShellPort;
}

export const ShellRequest = z.strictObject({
  host: HostName,
  /** The session ends after this, whatever is typed. */
  for_ms: z.int().min(1_000).max(3_600_000).default(900_000),
  reason: z.string().max(1_000).default(""),
  columns: z.int().min(1).max(1_000).default(80),
  rows: z.int().min(1).max(1_000).default(24),
  /** The terminal's type, as in TERM. */
  term: z
    .string()
    .regex(/^[a-zA-Z0-9.+-]{1,64}$/, "want the name of a terminal type")
    .default("xterm-256color"),
});
export type ShellRequest = z.infer<typeof ShellRequest>;

/** What was done with an input; `next_sequence` is what the next one has to say. */
export interface InputTaken {
  readonly next_sequence: number;
}

export const TranscriptRow = z.strictObject({
  session_id: z.string(),
  host: z.string(),
  opened_by: z.string(),
  opened_at_unix_ms: UnixMs,
  bytes: z.int().min(0),
  /** recording: it goes on. whole: as the audit chain has it. altered: not as the chain has it. unsealed: the chain does not know it. */
  state: z.enum(["recording", "whole", "altered", "unsealed"]),
});
export type TranscriptRow = z.infer<typeof TranscriptRow>;

export interface ShellPort {
  open(request: ShellRequest, by: Principal): Promise<Job | Refused>;
  /**
   * Bytes that were typed. Taken in the order of `sequence`, from 0 on: what was taken already is answered and not typed again, what
   * comes too early is refused.
   */
  input(sessionId: string, input: { sequence: number; data: Buffer }, by: Principal): InputTaken | Refused;
  /** As `input`, with numbers of its own; an older size than the last is answered and not set. */
  resize(
    sessionId: string,
    size: { sequence: number; columns: number; rows: number },
    by: Principal,
  ): InputTaken | Refused;
  close(sessionId: string, by: Principal): Promise<Job | Refused>;
  transcripts(): Promise<readonly TranscriptRow[]>;
  /** asciicast v2. */
  transcript(sessionId: string): Promise<{ readonly row: TranscriptRow; readonly text: string } | null>;
}
