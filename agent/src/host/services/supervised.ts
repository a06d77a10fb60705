import type { Outcome } from "../executor/executor.ts";

/** A declared service under supervision. It is never restarted unless someone asks: remediation decides. */
export interface Supervised {
  readonly name: string;
  /** null while nobody knows. */
  isUp(): boolean | null;
  readonly restarts: number;
  restart(signal: AbortSignal): Promise<Outcome>;
  /** Called when the agent starts and stops. */
  begin(): Promise<void>;
  end(): Promise<void>;
  /** What is wrong with the supervision itself. */
  readonly problem: string | null;
}
