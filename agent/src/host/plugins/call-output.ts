import type { Execution, Outcome } from "../executor/executor.ts";
import { failed } from "../executor/executor.ts";
import type { PluginResult } from "./protocol.ts";

/** What one call has said so far: heads are kept, everything is passed on as it comes. */
export class CallOutput {
  readonly #execution: Pick<Execution, "output">;
  readonly #bytesMax: number;
  readonly #kept = { stdout: "", stderr: "" };
  readonly #bytes = { stdout: 0, stderr: 0 };

  constructor(execution: Pick<Execution, "output">, bytesMax: number) {
    this.#execution = execution;
    this.#bytesMax = bytesMax;
  }

  add(stream: "stdout" | "stderr", text: string): void {
    const data = Buffer.from(text);
    const room = this.#bytesMax - this.#bytes[stream];
    this.#bytes[stream] += data.length;
    if (room <= 0) return;
    this.#kept[stream] += data.subarray(0, room).toString("utf8");
    this.#execution.output(stream, data);
  }

  outcome({ state, message, exit_code }: PluginResult): Outcome {
    return {
      state,
      message,
      exitCode: exit_code,
      ...this.#kept,
      isOutputTruncated: this.#bytes.stdout > this.#bytesMax || this.#bytes.stderr > this.#bytesMax,
    };
  }

  failed(message: string, exitCode: number | null = null): Outcome {
    const { stdout, stderr, isOutputTruncated } = this.outcome({ state: "failed", message, exit_code: null });
    return { ...failed(message), exitCode, stdout, stderr, isOutputTruncated };
  }
}
