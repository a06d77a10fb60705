import type { Facts, Finding, Outcome } from "@homeostat/schemas";
import type { RemediationConfig } from "../config.ts";
import type { HeartbeatSeen } from "../guards/guards.ts";
import type { Delivery } from "../receivers/receiver.ts";

export interface Decision {
  readonly by: string;
  readonly approved: boolean;
  readonly note: string;
}

/** A finding, and when the bus took it: its own times stay the same however often it is told. */
export interface HeardFinding {
  readonly finding: Finding;
  readonly heardAtUnixMs: number;
}

/** All that can happen to the engine. `resumed` is the first thing after the journals were read; `tick` says that time has passed. */
export type EngineEvent =
  | { readonly kind: "resumed" }
  | { readonly kind: "tick" }
  | { readonly kind: "findings"; readonly findings: readonly HeardFinding[] }
  | { readonly kind: "facts"; readonly runId: string; readonly facts: Facts }
  | { readonly kind: "step_ended"; readonly runId: string; readonly outcome: Outcome }
  | { readonly kind: "delivered"; readonly deliveryId: string; readonly delivery: Delivery }
  | { readonly kind: "decided"; readonly runId: string; readonly decision: Decision }
  | { readonly kind: "acknowledged"; readonly incidentId: string; readonly by: string };

export interface Context {
  readonly now: number;
  readonly config: RemediationConfig;
  readonly leaderSinceUnixMs: number;
  readonly heartbeats: ReadonlyMap<string, HeartbeatSeen>;
  /** When each finding was last told, repetitions included, since the engine leads. */
  readonly heard: ReadonlyMap<string, number>;
  readonly newId: () => string;
}
