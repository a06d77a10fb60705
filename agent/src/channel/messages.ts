import { CommandResult, DesiredPlugins, Heartbeat, Progress } from "@homeostat/schemas";
import { z } from "zod";
import { isResult } from "./is-result.ts";

/** Of what is said under one seal: an acknowledgement goes with the command behind it, for a seal costs as much as a message. */
const SAID_MAX = 64;

const Unread = z.record(z.string(), z.unknown());

/**
 * What control plane and agent say to each other: JSON, sealed from end to end (sealed.ts). A site server carries it and can neither
 * read nor change it.
 */
export const ToAgent = z.discriminatedUnion("type", [
  /** A Command, at least once; the agent's journal makes it at most one run. It and a SignedCancel are read where they are verified. */
  z.strictObject({ type: z.literal("command"), command: Unread }),
  z.strictObject({ type: z.literal("cancel"), cancel: Unread }),
  /** These results are on the bus: the agent need not tell them again. */
  z.strictObject({ type: z.literal("ack"), command_ids: z.array(z.string().max(128)).max(1_000) }),
  /** Keys that were typed into a shell session; the command_id is that of the `shell.open` command. */
  z.strictObject({ type: z.literal("input"), command_id: z.string().max(128), data: z.base64().max(65_536) }),
  z.strictObject({
    type: z.literal("resize"),
    command_id: z.string().max(128),
    columns: z.int().min(1).max(1_000),
    rows: z.int().min(1).max(1_000),
  }),
  z.strictObject({ type: z.literal("desired"), desired: DesiredPlugins }),
  /** A renewed certificate, PEM, with the authority's behind it. */
  z.strictObject({ type: z.literal("certificate"), pem: z.string().max(32_768) }),
  z.strictObject({ type: z.literal("clock"), asked_at_unix_ms: z.number(), control_unix_ms: z.number() }),
]);
export type ToAgent = z.infer<typeof ToAgent>;

/** What control says under one seal: a message, or a list of them. null: too many, or none. Each is to be read by itself. */
export const saidToAgent = (plain: unknown): readonly unknown[] | null => {
  if (!Array.isArray(plain)) return [plain];
  return plain.length > 0 && plain.length <= SAID_MAX ? plain : null;
};

export const FromAgent = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("progress"), progress: Progress }),
  /** Again and again until it is acknowledged. */
  z.strictObject({ type: z.literal("result"), result: CommandResult }),
  z.strictObject({ type: z.literal("heartbeat"), heartbeat: Heartbeat }),
  /** Asks for a certificate for this public key (SPKI, PEM); signed with its private half over `homeostat renew\n<host>\n<spki>`. */
  z.strictObject({ type: z.literal("renew"), spki: z.string().max(4_096), signature: z.base64().max(1_024) }),
  z.strictObject({ type: z.literal("clock"), asked_at_unix_ms: z.number() }),
  /** It ends, as soon as its results are acknowledged. */
  z.strictObject({ type: z.literal("leaving") }),
]);
export type FromAgent = z.infer<typeof FromAgent>;

/** What an agent says under one seal; null when it cannot be read. */
export const fromAgentOf = (plain: Buffer): FromAgent | null => {
  try {
    const said: unknown = JSON.parse(plain.toString("utf8"));
    return isResultMessage(said) ? said : FromAgent.parse(said);
  } catch {
    return null;
  }
};

/** Nearly all that agents say: true when the schema takes it as it is, at a tenth of the cost of asking it. */
const isResultMessage = (said: unknown): said is Extract<FromAgent, { type: "result" }> =>
  typeof said === "object" &&
  said !== null &&
  Object.keys(said).length === 2 &&
  "type" in said &&
  said.type === "result" &&
  "result" in said &&
  isResult(said.result);
