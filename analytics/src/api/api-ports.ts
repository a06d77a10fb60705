import type { Incident, Log, RemediationRun } from "@homeostat/schemas";
import { z } from "zod";
import type { Store } from "../store/store.ts";

export const Component = z.strictObject({
  name: z.string(),
  state: z.enum(["ok", "degraded", "failing"]),
  /** A sentence for a person. */
  detail: z.string(),
  figures: z.record(z.string(), z.number()),
});
export type Component = z.infer<typeof Component>;

export const ReportFormat = z.enum(["json", "markdown", "html"]);
export type ReportFormat = z.infer<typeof ReportFormat>;

/** Why a decision was not taken; `not_found` answers 404, all others 409. */
export interface Refused {
  readonly refused: string;
  readonly message: string;
}

/** What a new reading of the configuration changed; names of rules, and the top keys whose change only a restart brings about. */
export const Reloaded = z.strictObject({
  added: z.array(z.string()).readonly(),
  changed: z.array(z.string()).readonly(),
  removed: z.array(z.string()).readonly(),
  unchanged: z.array(z.string()).readonly(),
  needs_restart: z.array(z.string()).readonly(),
});
export type Reloaded = z.infer<typeof Reloaded>;

/** The old rules stay at work. */
export interface NotReloaded {
  readonly message: string;
  /** Each with its path. */
  readonly problems: readonly string[];
}

export interface Decision {
  readonly approved: boolean;
  readonly by: string;
  readonly note: string;
}

/** What the API needs of the platform. */
export interface ApiPorts {
  readonly run: Store["run"];
  /** Asks every part now. */
  readonly health: () => Promise<readonly Component[]>;
  /** The root-cause report of an incident, or null where there is no such incident. */
  readonly reports: (incidentId: string, format: ReportFormat) => Promise<string | null>;
  readonly decide: (runId: string, decision: Decision) => Promise<RemediationRun | Refused>;
  readonly acknowledge: (incidentId: string, by: string) => Promise<Incident | Refused>;
  /** Reads the configuration again; its rules take the place of those at work. */
  readonly reload: () => Promise<Reloaded | NotReloaded>;
  readonly now: () => number;
  readonly log: Log;
}
