import type { GatewayReport } from "@homeostat/schemas";

type ReceiverCount = GatewayReport["receivers"][number];

/** A report takes this many pairs of receiver and sender; further ones are counted under the sender `""`. */
const PAIRS_MAX = 900;
/** Reasons are fixed sets; this guards the report against a receiver that makes them up. */
const REASONS_MAX = 50;

/** Requests and records by receiver and sender, since the gateway began. */
export class ReceiverCounts {
  readonly #pairs = new Map<string, ReceiverCount>();

  of(receiver: string, sender: string): ReceiverCount {
    const key = `${receiver}\n${sender}`;
    const known = this.#pairs.get(key);
    if (known !== undefined) return known;
    if (this.#pairs.size >= PAIRS_MAX && sender !== "") return this.of(receiver, "");
    const count = { receiver, sender, requests: 0, accepted: 0, rejected: {} };
    this.#pairs.set(key, count);
    return count;
  }

  read(): ReceiverCount[] {
    return [...this.#pairs.values()].map((count) => ({ ...count, rejected: { ...count.rejected } }));
  }
}

export const countRejected = ({ rejected }: ReceiverCount, reason: string, records: number): void => {
  const isKnown = Object.hasOwn(rejected, reason) || Object.keys(rejected).length < REASONS_MAX;
  const name = isKnown ? reason.slice(0, 64) : "other";
  rejected[name] = (rejected[name] ?? 0) + records;
};
