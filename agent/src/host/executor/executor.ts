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

export interface Execution {
  /** Aborts when the command's time is over. */
  readonly signal: AbortSignal;
  readonly outputBytesMax: number;
  /** A variable for a child's environment, and a note of its pid: by them the next agent ends it, should this one be killed. */
  readonly mark: { readonly name: string; readonly value: string };
  readonly noteChild: (pid: number) => void;
}

/** Arguments that were checked against the executor's schema and this host's declarations. */
export interface Prepared {
  /** Executions on one target never overlap. */
  readonly target: string;
  run(execution: Execution): Promise<Outcome>;
}

/** One kind of command. `prepare` has no effects and fails closed. */
export interface Executor {
  readonly name: string;
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
