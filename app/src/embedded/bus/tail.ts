import type { BusMessage } from "@homeostat/schemas";
import type { FeedLimits } from "../../bus/feed-limits.ts";

export interface ReadResult {
  readonly messages: readonly BusMessage[];
  readonly bytes: number;
  /** False when a limit ended the reading. */
  readonly reachedEnd: boolean;
}

/** Of all partitions together. Beyond, all of it is let go and begins anew: whoever had not read it yet reads it from the file. */
const BYTES_MAX = 8_388_608;
/** Larger values cost less to read back than to copy and keep. */
const VALUE_BYTES_MAX = 16_384;
/** Of a message beside its value: the object, its strings and its place. */
const MESSAGE_BYTES = 256;

const bytesOf = ({ value }: BusMessage): number => (value?.byteLength ?? 0) + MESSAGE_BYTES;

/**
 * The newest messages of each partition, as they were appended: to read a row back from the file takes as long as to write it, and most
 * readers are never more than one publish behind. Its messages follow each other without a gap.
 */
export class Tail {
  readonly #byPartition = new Map<number, BusMessage[]>();
  #bytes = 0;

  /** The message must be one that nobody changes any more, but for its value, which is copied. */
  add(id: number, message: BusMessage): void {
    const { value } = message;
    if (value !== null && value.byteLength > VALUE_BYTES_MAX) {
      this.forget(id);
      return;
    }
    const bytes = bytesOf(message);
    if (this.#bytes + bytes > BYTES_MAX) this.clear();
    this.#bytes += bytes;
    const kept = value === null ? message : { ...message, value: new Uint8Array(value) };
    const messages = this.#byPartition.get(id);
    if (messages === undefined) this.#byPartition.set(id, [kept]);
    else messages.push(kept);
  }

  /** As the store's own reading; null when not all from `offset` on is here. */
  read(
    { id, end }: { readonly id: number; readonly end: number },
    offset: number,
    { maxMessages, maxBytes }: Pick<FeedLimits, "maxMessages" | "maxBytes">,
  ): ReadResult | null {
    const kept = this.#byPartition.get(id);
    const first = kept?.[0];
    if (kept === undefined || first === undefined || offset < first.offset) return null;
    const from = offset - first.offset;
    const shown = end - first.offset;
    let [to, bytes] = [from, 0];
    for (; to < shown; to += 1) {
      const size = kept[to]?.value?.length ?? 0;
      if (to - from === maxMessages || (to > from && bytes + size > maxBytes)) break;
      bytes += size;
    }
    return { messages: kept.slice(from, to), bytes, reachedEnd: to >= shown };
  }

  /** Something of this partition was deleted, or is not kept. */
  forget(id: number): void {
    for (const message of this.#byPartition.get(id) ?? []) this.#bytes -= bytesOf(message);
    this.#byPartition.delete(id);
  }

  clear(): void {
    this.#byPartition.clear();
    this.#bytes = 0;
  }
}
