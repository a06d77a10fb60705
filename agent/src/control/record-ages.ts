import type { BusMessage } from "@homeostat/schemas";
import { revisionOf } from "./record-proof.ts";

/**
 * Which record of each key of a topic is the newest that a control has written: each says in its proof the how-manieth it is. One that
 * lies behind a newer one of its key has been put there again, by somebody who may write to the bus or by a bus that was asked twice.
 */
export class RecordAges {
  readonly #newest = new Map<string, number>();
  readonly #repeated = new Set<string>();
  #last = 0;

  /** For what is written now. */
  next(): number {
    this.#last += 1;
    return this.#last;
  }

  /** In the topic's order. False when this one does not count. */
  admit(message: Pick<BusMessage, "key" | "headers">): boolean {
    const key = message.key ?? "";
    const revision = revisionOf(message);
    const newest = this.#newest.get(key) ?? 0;
    // Those of before there were revisions have none: of these the last counts.
    if (revision <= newest && newest > 0) {
      this.#repeated.add(key);
      return false;
    }
    this.#newest.set(key, revision);
    this.#last = Math.max(this.#last, revision);
    this.#repeated.delete(key);
    return true;
  }

  /** Keys at whose end an old record lies: compaction would take the newest away. */
  repeated(): readonly string[] {
    return [...this.#repeated];
  }
}
