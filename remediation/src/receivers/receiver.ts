import type { Incident } from "@homeostat/schemas";

/** What became of one attempt. `isFinal`: trying again would change nothing. */
export type Delivery =
  | { readonly ok: true }
  | { readonly ok: false; readonly isFinal: boolean; readonly error: string; readonly retryAfterMs: number | null };

export interface Receiver<Config, Message> {
  render(incident: Incident, config: Config, context: { readonly externalUrl: string }): Message;
  /** `deliveryId` is the same for every attempt, so that the other side can drop what it has seen. */
  send(
    message: Message,
    config: Config,
    attempt: { readonly deliveryId: string; readonly signal: AbortSignal },
  ): Promise<Delivery>;
}
