import type { CommandResult, Log } from "@homeostat/schemas";
import type { ToAgent } from "../channel/messages.ts";
import type { Pulsed } from "../channel/wheel.ts";
import type { ChannelClient } from "./channel-client.ts";
import { type CommandSubscription, type Link, LinkError, type OrderListener } from "./link.ts";

/** Results that wait for control's word. Beyond it the agent is asked to come again: its journal has them. */
const RESULTS_MAX = 4_096;
/** What was sent and not acknowledged is sent again after this: control may have died with it. */
const AGAIN_MS = 15_000;
/** Sent in one go when the channel is back. */
const RESULTS_PER_PULSE_MAX = 256;

interface WaitingResult {
  readonly result: CommandResult;
  /** Periods until it is sent again; 0: to be sent. */
  periodsLeft: number;
  readonly promise: Promise<void>;
  resolve(): void;
  reject(error: LinkError): void;
}

/** The link of an agent that holds no credentials for the bus: all goes through its site's servers, sealed up to control where it matters. */
export const createChannelLink = (options: { client: ChannelClient; log: Log }): Link => new ChannelLink(options);

class ChannelLink implements Link, Pulsed {
  readonly #client: ChannelClient;
  readonly #log: Log;
  readonly #results = new Map<string, WaitingResult>();
  /** From the first result until a pulse finds none. */
  #isOnWheel = false;
  #listener: OrderListener | null = null;
  #whenUp: () => void = () => undefined;

  constructor({ client, log }: { client: ChannelClient; log: Log }) {
    this.#client = client;
    this.#log = log;
    client.onMessage((message) => this.#onMessage(message));
    client.onState((state) => {
      if (state !== "sealed") return;
      for (const waiting of this.#results.values()) waiting.periodsLeft = 0;
      this.#sendResults();
      this.#whenUp();
    });
  }

  onUp(listener: () => void): void {
    this.#whenUp = listener;
  }

  publish(batches: Parameters<Link["publish"]>[0]): Promise<void> {
    return this.#client.publish(batches);
  }

  async onOrder(listener: OrderListener): Promise<CommandSubscription> {
    this.#listener = listener;
    return {
      stop: async () => {
        if (this.#listener === listener) this.#listener = null;
      },
    };
  }

  publishResult(result: CommandResult): Promise<void> {
    const known = this.#results.get(result.command_id);
    if (known !== undefined) return known.promise;
    if (this.#results.size >= RESULTS_MAX)
      return Promise.reject(new LinkError("unreachable", `${RESULTS_MAX} results wait to be acknowledged`));
    if (!this.#isOnWheel) this.#client.wheel.add(this);
    this.#isOnWheel = true;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting = { result, periodsLeft: 0, promise, resolve, reject };
    this.#results.set(result.command_id, waiting);
    this.#send(waiting);
    return promise;
  }

  publishProgress(progress: Parameters<Link["publishProgress"]>[0]): void {
    this.#client.send({ type: "progress", progress });
  }

  async publishHeartbeat(heartbeat: Parameters<Link["publishHeartbeat"]>[0]): Promise<void> {
    if (!this.#client.send({ type: "heartbeat", heartbeat }))
      throw new LinkError("unreachable", this.#client.problem ?? "the channel is behind");
  }

  leaving(): void {
    this.#client.send({ type: "leaving" });
  }

  onPulse(): void {
    if (this.#results.size === 0) {
      this.#client.wheel.delete(this);
      this.#isOnWheel = false;
      return;
    }
    for (const waiting of this.#results.values()) waiting.periodsLeft = Math.max(0, waiting.periodsLeft - 1);
    this.#sendResults();
  }

  #sendResults(): void {
    let left = RESULTS_PER_PULSE_MAX;
    for (const waiting of this.#results.values())
      if (waiting.periodsLeft === 0 && (left-- === 0 || !this.#send(waiting))) return;
  }

  #send(waiting: WaitingResult): boolean {
    const isSent = this.#client.send({ type: "result", result: waiting.result });
    if (isSent) waiting.periodsLeft = this.#client.wheel.periods(AGAIN_MS);
    return isSent;
  }

  #onMessage(message: ToAgent): void {
    const listener = this.#listener;
    switch (message.type) {
      case "ack":
        this.#onAck(message.command_ids);
        return;
      case "command":
        this.#take("command", listener?.command(message.command));
        return;
      case "cancel":
        this.#take("cancel", listener?.cancel(message.cancel));
        return;
      case "input":
        listener?.input(message.command_id, Buffer.from(message.data, "base64"));
        return;
      case "resize":
        listener?.resize(message.command_id, message.columns, message.rows);
        return;
      case "desired":
        listener?.desired(message.desired);
    }
  }

  /** Rejected: it was not written down. Control sends it again, for it hears neither progress nor result. */
  #take(what: string, taking: Promise<void> | undefined): void {
    taking?.catch((error: unknown) => this.#log.warn({ what, error: String(error) }, "an order was not written down"));
  }

  #onAck(commandIds: readonly string[]): void {
    for (const id of commandIds) {
      this.#results.get(id)?.resolve();
      this.#results.delete(id);
    }
  }
}
