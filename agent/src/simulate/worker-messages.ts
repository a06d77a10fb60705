import type { SimulationCounts } from "./simulation.ts";

/** What a worker is told once, at its start. */
export interface WorkerTask {
  readonly worker: number;
  readonly hosts: readonly string[];
  readonly servers: readonly string[];
  readonly token: string | null;
  readonly dir: string;
  readonly heartbeatMs: number;
  readonly markerPath: string | null;
  readonly verifies: boolean;
}

export type ToWorker = { readonly type: "begin"; readonly task: WorkerTask } | { readonly type: "stop" };

export type FromWorker =
  | { readonly type: "counts"; readonly counts: SimulationCounts }
  | { readonly type: "problem"; readonly message: string }
  /** It cannot go on. */
  | { readonly type: "failed"; readonly message: string }
  | { readonly type: "stopped" };
