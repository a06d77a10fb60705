import type { CommandResult, InvocationState } from "@homeostat/schemas";
import type { Outcome } from "./executor.ts";

/** A result must fit a message of the bus, whatever JSON makes of its bytes: at worst it writes six for one. */
const RESULT_BYTES_MAX = 458_752;
const JSON_BYTES_PER_CHAR_MAX = 6;
const BESIDE_OUTPUT_BYTES = 20_000;

export interface End extends Partial<Outcome> {
  readonly startedUnixMs?: number;
  readonly endedUnixMs?: number;
}

export const resultOf = (
  invocation: { commandId: string; host: string; executor: string },
  state: InvocationState,
  end: End,
): CommandResult =>
  fit({
    command_id: invocation.commandId,
    host: invocation.host,
    executor: invocation.executor,
    state,
    exit_code: end.exitCode ?? null,
    stdout: end.stdout ?? "",
    stderr: end.stderr ?? "",
    output_truncated: end.isOutputTruncated ?? false,
    started_at_unix_ms: end.startedUnixMs ?? null,
    ended_at_unix_ms: end.endedUnixMs ?? null,
    message: (end.message ?? "").slice(0, 2000),
  });

const fit = (result: CommandResult): CommandResult => {
  const chars = result.stdout.length + result.stderr.length;
  if (chars * JSON_BYTES_PER_CHAR_MAX + BESIDE_OUTPUT_BYTES < RESULT_BYTES_MAX) return result;
  let fitted = result;
  for (let kept = 262_144; Buffer.byteLength(JSON.stringify(fitted)) > RESULT_BYTES_MAX; kept /= 2)
    fitted = {
      ...fitted,
      stdout: fitted.stdout.slice(0, kept),
      stderr: fitted.stderr.slice(0, kept),
      output_truncated: true,
    };
  return fitted;
};
