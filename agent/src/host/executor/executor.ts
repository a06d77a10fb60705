import type { ResourceLimits, Risk } from "@homeostat/schemas";
import type { z } from "zod";

/** How an execution ended. */
export interface Outcome {
  readonly state: "succeeded" | "failed";
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly isOutputTruncated: boolean;
  readonly message: string;
}

/** The reason of an abort. */
export const CANCELLED = "cancelled";

export type OutputStream = "stdout" | "stderr" | "pty";

/** What is typed into a running command, and the size of the terminal that it is typed at. Heard from the first listener on. */
export interface ExecutionInput {
  onData(listener: (data: Buffer) => void): void;
  onResize(listener: (columns: number, rows: number) => void): void;
}

export interface Execution {
  readonly commandId: string;
  readonly requestedBy: string;
  /** Aborts when the command's time is over, or when it is cancelled: then its reason is `CANCELLED`. */
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  readonly outputBytesMax: number;
  /** Of the grant and of this host, whichever is less. */
  readonly limits: ResourceLimits;
  /** A variable for a child's environment, and a note of its pid: by them the next agent ends it, should this one be killed. */
  readonly mark: { readonly name: string; readonly value: string };
  readonly noteChild: (pid: number) => void;
  /**
   * Sent on as it comes, in pieces. Of stdout and stderr no more than `outputBytesMax`, and what comes faster than the stream may go is left
   * to the result. A pty loses nothing: when a promise is returned, read on only after it has resolved.
   */
  readonly output: (stream: OutputStream, data: Buffer) => Promise<void> | null;
  readonly input: ExecutionInput;
}

/** Arguments that were checked against the executor's schema and this host's declarations. */
export interface Prepared {
  /** Executions on one target never overlap. */
  readonly target: string;
  /** Of exactly this; without it the executor's. */
  readonly risk?: Risk;
  run(execution: Execution): Promise<Outcome>;
}

/** One kind of command. `prepare` has no effects and fails closed. */
export interface Executor {
  readonly name: string;
  /** What it may do at most on this host. A grant for less is refused. */
  readonly risk: Risk;
  prepare(args: unknown): Prepared | { readonly refused: string };
}

export const succeeded = (message: string, stdout = ""): Outcome => ({
  state: "succeeded",
  exitCode: null,
  stdout,
  stderr: "",
  isOutputTruncated: false,
  message,
});

export const failed = (message: string, stdout = ""): Outcome => ({ ...succeeded(message, stdout), state: "failed" });

export const refusalOf = (error: z.ZodError): { refused: string } => ({
  refused: error.issues
    .map((issue) => `args.${issue.path.join(".")}: ${issue.message}`)
    .join("; ")
    .slice(0, 1000),
});
