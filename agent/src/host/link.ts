import type { CommandResult, Heartbeat } from "@homeostat/schemas";

export interface OutgoingBatch {
  readonly topic: string;
  readonly value: Uint8Array;
}

/** Resolves once the command is written down: only then may the platform forget that it has to deliver it. */
export type TakeCommand = (signed: unknown) => Promise<void>;

export interface CommandSubscription {
  stop(): Promise<void>;
}

/** The one seam between an agent and the platform: the bus itself, or a relay where agents hold no credentials for the bus. */
export interface Link {
  /** Resolves when all of them are durable, in this order; rejects as a whole. */
  publish(batches: readonly OutgoingBatch[]): Promise<void>;
  /** Delivers each command for this host at least once. */
  onCommand(take: TakeCommand): Promise<CommandSubscription>;
  publishResult(result: CommandResult): Promise<void>;
  publishHeartbeat(heartbeat: Heartbeat): Promise<void>;
}

/** `refused` when the other side will never take it: trying again is no use. */
export class LinkError extends Error {
  override readonly name = "LinkError";
  readonly code: "refused" | "unreachable" | "unauthorized";
  constructor(code: LinkError["code"], message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}
