import type { Log } from "@homeostat/schemas";

/** Agents with virtual hosts: the protocol, the journal and the grants are the real ones, and what a command does is made up. */
export interface SimulateOptions {
  /** How many; hosts are named `<host_prefix>00000` and up. */
  readonly agents: number;
  /** Site servers, `host:port`. */
  readonly servers: readonly string[];
  /** An enrolment token that may be used at least `agents` times. Not needed when all identities are in `dir` already. */
  readonly token: string | null;
  /** Identities and journals of the virtual agents; a simulation that is killed and begun again in it goes on where it was. */
  readonly dir: string;
  readonly hostPrefix: string;
  /** Between two heartbeats of one agent; 0: none at all. */
  readonly heartbeatMs: number;
  /** Processes that share the agents among them. */
  readonly workers: number;
  /** Where `simulate.run_marker` writes what it ran: one file for each worker. null: such commands are refused. */
  readonly markerDir: string | null;
  /** false: signatures of grants are believed. Only for measuring what verifying them costs; true unless told. */
  readonly verifies?: boolean;
  /** Paces what is told. */
  readonly monotonicMs: () => number;
  readonly log: Log;
  readonly onEvent: (event: SimulationEvent) => void;
}

export interface SimulationCounts {
  readonly agents: number;
  readonly enrolled: number;
  readonly connected: number;
  /** Have an end-to-end session with the control plane, so that they can be commanded. */
  readonly sealed: number;
  /** Results that were told and acknowledged, since the start. */
  readonly commands: number;
  readonly errors: number;
}

export type SimulationEvent =
  /** About once a second while something changes. */
  | { readonly kind: "progress"; readonly counts: SimulationCounts }
  /** The first of each sort of trouble in a second. */
  | { readonly kind: "problem"; readonly message: string }
  /** A worker ended without being asked to. */
  | { readonly kind: "worker_died"; readonly worker: number; readonly reason: string };

export interface Simulation {
  /** Resolves once every agent is sealed. */
  ready(): Promise<void>;
  counts(): SimulationCounts;
  /** Processor time of the workers and their ids, for benchmarks. */
  readonly pids: readonly number[];
  /** kill -9 of one worker; after `deadMs` it is begun anew and goes on with its journal. */
  killWorker(worker: number, deadMs: number): Promise<void>;
  stop(): Promise<void>;
}
