import type { CommandResult, InvocationState, Job, JobState, PluginStatus, Risk } from "@homeostat/schemas";

export type Role = "viewer" | "operator" | "approver" | "admin" | "shell";

/** Who asks: a person or a program, as the API has authenticated them. */
export interface Principal {
  readonly name: string;
  readonly roles: readonly Role[];
}

export const REFUSAL_CODES = [
  "not_leader",
  "not_found",
  /** The roles of who asks do not allow it. */
  "not_allowed",
  /** The request itself is wrong: an unknown host, a label expression that cannot be read, arguments that are too long. */
  "invalid",
  /** Nothing is selected. */
  "no_targets",
  /** A cap of the policy: hosts of a job, open jobs, requests a minute. */
  "over_limit",
  /** The job is in a state in which this cannot be asked. */
  "wrong_state",
  /** The control plane's own fault, such as a bus that does not take the record; trying again may help. */
  "unavailable",
] as const;
export type RefusalCode = (typeof REFUSAL_CODES)[number];

export interface Refused {
  readonly refused: RefusalCode;
  readonly message: string;
}

export const isRefused = (value: object): value is Refused => "refused" in value;

/** All that is known of an agent, put together of its heartbeats, its identity and its session. */
export interface AgentView {
  readonly host: string;
  /** Empty when neither identity nor heartbeat names one. */
  readonly site: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly agent_version: string;
  readonly state: "online" | "degraded" | "offline" | "quarantined" | "revoked";
  /** channel: through a site server. bus: it speaks to the bus itself and has no identity. */
  readonly link: "channel" | "bus";
  /** The site server that it is connected through; null while it is not, and for agents on the bus. */
  readonly server: string | null;
  readonly last_seen_unix_ms: number | null;
  readonly clock_skew_ms: number | null;
  readonly problems: readonly string[];
  readonly plugins: readonly PluginStatus[];
}

/** One host of a job. */
export interface InvocationView {
  readonly host: string;
  /** Empty while no command for this host has been sent. */
  readonly command_id: string;
  readonly state: InvocationState;
  /** null until it has ended, and when it ended without ever having been sent. */
  readonly result: CommandResult | null;
  /** The output was let go to save memory; `agent.results` and its table have it. */
  readonly is_output_elided: boolean;
  readonly at_unix_ms: number;
}

/** What a follower of a job hears, in this order: what the job is now, then what happens, and `end` or `left` at last. */
export type JobEvent =
  | { readonly type: "job"; readonly job: Job }
  | {
      readonly type: "invocation";
      readonly host: string;
      readonly command_id: string;
      readonly state: InvocationState;
      readonly at_unix_ms: number;
    }
  | {
      readonly type: "output";
      readonly host: string;
      readonly command_id: string;
      readonly stream: "stdout" | "stderr" | "pty";
      readonly sequence: number;
      /** Base64. */
      readonly data: string;
    }
  | { readonly type: "result"; readonly result: CommandResult }
  /** This control leads no more, and hears nothing more of the job, which goes on: follow it anew, at whoever leads then. Nothing follows. */
  | { readonly type: "left"; readonly message: string }
  /** Nothing follows. */
  | { readonly type: "end"; readonly job: Job };

/** What submitting the same request by the same principal would do now. */
export interface JobPreview {
  readonly hosts: readonly string[];
  readonly sites: Readonly<Record<string, { readonly targeted: number; readonly of: number }>>;
  readonly risk: Risk;
  /** How many approvals by other people it waits for. */
  readonly needs_approval: number;
  /** Sizes of the waves that go out one after the other; the last is what slides behind them. */
  readonly waves: readonly number[];
}

export interface JobFilter {
  readonly states?: readonly JobState[];
  readonly requested_by?: string;
  readonly executor?: string;
  /** Jobs that name this host. */
  readonly host?: string;
  /** Newest first; 100 unless told, 1,000 at most. */
  readonly limit?: number;
}

export interface JobView {
  readonly job: Job;
  readonly invocations: readonly InvocationView[];
  /** False of a job that ended so long ago, or under another leader, that only the tables know its hosts' results; `counts` hold all the same. */
  readonly is_complete: boolean;
}

export interface ControlHealth {
  readonly role: "leader" | "standby" | "stopped";
  readonly leader_since_unix_ms: number | null;
  readonly agents: Readonly<Record<AgentView["state"], number>>;
  readonly sessions: number;
  readonly servers: number;
  readonly jobs_open: number;
  /** Commands that were handed out or wait for their host. */
  readonly invocations_open: number;
  readonly held: number;
  /** Why something was turned away or could not be read, and how often, since this term began. */
  readonly turned_away: Readonly<Record<string, number>>;
  /** False when the audit log does not hold what its anchor says: `audit verify` tells what is wrong. */
  readonly audit_is_whole: boolean;
  readonly last_error: string | null;
}
