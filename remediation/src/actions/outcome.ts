import type { CommandResult, Outcome } from "@homeostat/schemas";

const MESSAGE_CHARS_MAX = 2000;

const lastLine = (text: string): string => text.trimEnd().split("\n").at(-1) ?? "";

/** What a command's end means for the step. null while the command is still under way. */
export const outcomeOf = (result: CommandResult): Outcome | null => {
  const about = { command_id: result.command_id, exit_code: result.exit_code };
  const said = result.message || lastLine(result.stderr) || lastLine(result.stdout);
  const message = said.slice(0, MESSAGE_CHARS_MAX);
  switch (result.state) {
    case "succeeded":
      return { ...about, status: "succeeded", retryable: false, message };
    case "expired":
      // The agent saw it too late and did not begin: the only failure that certainly changed nothing and may pass.
      return { ...about, status: "failed", retryable: true, message: message || "expired before it was begun" };
    case "failed":
    case "timed_out":
    case "cancelled":
    case "refused":
      return { ...about, status: "failed", retryable: false, message: message || result.state.replace("_", " ") };
    case "lost":
      return { ...about, status: "unknown", retryable: false, message: message || "the agent lost track of it" };
    case "queued":
    case "delivered":
    case "accepted":
    case "running":
      return null;
  }
};

/** For an invocation that has ended, which is all that `ActionPorts.invoke` resolves with. */
export const endedOutcome = (result: CommandResult): Outcome =>
  outcomeOf(result) ?? {
    status: "unknown",
    retryable: false,
    command_id: result.command_id,
    exit_code: null,
    message: `ended in the state ${result.state}`,
  };
