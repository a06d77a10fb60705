import type { CommandResult, DesiredPlugins, Heartbeat, Progress } from "@homeostat/schemas";

export interface OutgoingBatch {
  readonly topic: string;
  readonly value: Uint8Array;
}

/** What the platform asks of an agent. Nothing of it is trusted before it has been verified. */
export interface OrderListener {
  /** A Command. Resolves once it is written down: only then may the platform forget that it has to deliver it. Rejects: it must come again. */
  command(value: unknown): Promise<void>;
  /** A SignedCancel. As above. */
  cancel(value: unknown): Promise<void>;
  /** Keys that were typed into a running command; dropped when it is not running. */
  input(commandId: string, data: Buffer): void;
  resize(commandId: string, columns: number, rows: number): void;
  desired(desired: DesiredPlugins): void;
}

export interface CommandSubscription {
  stop(): Promise<void>;
}

/** The one seam between an agent and the platform: the bus itself, or the channel where agents hold no credentials for the bus. */
export interface Link {
  /** Resolves when all of them are durable, in this order; rejects as a whole. */
  publish(batches: readonly OutgoingBatch[]): Promise<void>;
  /** Delivers each order for this host at least once. */
  onOrder(listener: OrderListener): Promise<CommandSubscription>;
  /** Resolves when the result is durable on the bus. */
  publishResult(result: CommandResult): Promise<void>;
  /** May be lost; never blocks. */
  publishProgress(progress: Progress): void;
  publishHeartbeat(heartbeat: Heartbeat): Promise<void>;
  /** The agent ends, and waits for what has yet to be durable. A link that holds nothing back has none. */
  leaving?(): void;
  /** Called whenever heartbeats can go again after a time in which they could not. A link that is never away has none. */
  onUp?(listener: () => void): void;
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
