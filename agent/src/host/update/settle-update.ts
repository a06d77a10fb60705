import type { CommandResult, Log } from "@homeostat/schemas";
import { FileJournal } from "../executor/file-journal.ts";
import type { Link } from "../link.ts";
import { type PendingUpdate, readPending, readUpdateFile, removePending } from "./update-files.ts";

interface Settled {
  /** Its result is to be told only once the supervisor keeps this version; null when there is none such. */
  readonly heldCommandId: string | null;
}

/**
 * Says in the journal how the update went that an agent had begun, before this one opens the journal and takes it for lost. In its trial the
 * new version writes that it succeeded, and holds that back (`holdResult`); when it is taken back, the version before writes that it failed.
 */
export const settleUpdate = async (options: {
  dir: string;
  version: string;
  now: () => number;
  log: Log;
}): Promise<Settled> => {
  const { dir, version, now, log } = options;
  const pending = readPending(dir);
  if (pending === null) return { heldCommandId: null };
  const reason = failureOf(dir, pending, version);
  const journal = FileJournal.open({ dir, log, nowUnixMs: now() });
  try {
    const entry = journal.get(pending.command_id);
    if (entry !== undefined && entry.state !== "accepted") {
      const isUntold = entry.state === "running" || !entry.is_reported;
      if (isUntold) await journal.write(pending.command_id, doneEntry(entry, pending, reason, now()));
    }
  } finally {
    await journal.close();
  }
  log.info({ command_id: pending.command_id, version: pending.version, reason }, "an update is settled");
  if (reason === null && readUpdateFile(dir, "current") !== pending.version)
    return { heldCommandId: pending.command_id };
  removePending(dir);
  return { heldCommandId: null };
};

/** Why the new version does not run; null while it does. */
const failureOf = (dir: string, pending: PendingUpdate, version: string): string | null => {
  const bad = readUpdateFile(dir, `bad/${pending.version}`);
  if (bad !== "") return `rolled back to ${version}: ${bad}`;
  return version === pending.version ? null : `version ${pending.version} was never started: ${version} runs`;
};

type Running = Extract<NonNullable<ReturnType<FileJournal["get"]>>, { state: "running" | "done" }>;

const doneEntry = (entry: Running, pending: PendingUpdate, reason: string | null, nowUnixMs: number) => {
  const message = reason ?? `${pending.from} became ${pending.version}`;
  const state = reason === null ? ("succeeded" as const) : ("failed" as const);
  if (entry.state === "done") return { ...entry, result: { ...entry.result, state, message }, is_reported: false };
  const { grant } = entry.command.signed;
  const result: CommandResult = {
    command_id: grant.command_id,
    host: entry.command.host,
    executor: grant.executor,
    state,
    exit_code: null,
    stdout: "",
    stderr: "",
    output_truncated: false,
    started_at_unix_ms: entry.started_at_unix_ms,
    ended_at_unix_ms: nowUnixMs,
    message: message.slice(0, 2_000),
  };
  return { state: "done" as const, not_after_unix_ms: grant.not_after_unix_ms, result, is_reported: false };
};

/** The same link, but the result of this command waits for `kept`. An agent that is taken back never tells it. */
export const holdResult = (link: Link, commandId: string | null, kept: Promise<void>): Link => {
  if (commandId === null) return link;
  return {
    publish: (batches) => link.publish(batches),
    onOrder: (listener) => link.onOrder(listener),
    publishProgress: (progress) => link.publishProgress(progress),
    publishHeartbeat: (heartbeat) => link.publishHeartbeat(heartbeat),
    leaving: () => link.leaving?.(),
    onUp: (listener) => link.onUp?.(listener),
    async publishResult(result) {
      if (result.command_id === commandId) await kept;
      await link.publishResult(result);
    },
  };
};
