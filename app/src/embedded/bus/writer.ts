import { BusError } from "@homeostat/schemas";
import { asError } from "../../bus/retry.ts";
import type { MessageStore } from "./message-store.ts";
import type { Partition } from "./partitions.ts";

// One transaction blocks the event loop for as long as it takes: 2 MB is some 5 ms.
const TRANSACTION_BYTES = 2_097_152;
// Publishers that do not wait are told to at this point.
const QUEUED_BYTES_MAX = 134_217_728;
// A message's row, its key in an index, a half-filled page: what the store takes beyond the bytes themselves.
const ROW_OVERHEAD_BYTES = 512;

interface Write {
  readonly bytes: number;
  /** Commits of offsets are let through when the store is full: they are what makes room. */
  readonly needsRoom: boolean;
  stage(): void;
  resolve(): void;
  reject(error: unknown): void;
}

interface WriterOptions {
  readonly store: MessageStore;
  readonly bytesMax: number;
  /** Frees what may be freed, called when the store is full. */
  makeRoom(): Promise<void>;
  /** Messages that readers may now see. */
  onAppended(partitions: readonly Partition[]): void;
}

/** Puts what is published and committed on the disk, in the order of the calls; what comes at the same time shares a transaction and a flush. */
export class Writer {
  readonly #options: WriterOptions;
  /** What may be written before the store is asked how much it holds. */
  #credit = 0;
  #queue: Write[] = [];
  #queuedBytes = 0;
  #draining: Promise<void> | null = null;
  #failure: BusError | null = null;

  constructor(options: WriterOptions) {
    this.#options = options;
  }

  write(request: { bytes: number; messages: number; needsRoom: boolean; stage: () => void }): Promise<void> {
    const bytes = request.bytes + request.messages * ROW_OVERHEAD_BYTES;
    if (this.#failure !== null) return Promise.reject(this.#failure);
    if (request.needsRoom && this.#queuedBytes + bytes > QUEUED_BYTES_MAX)
      return Promise.reject(
        new BusError("full", `${this.#queuedBytes} bytes wait to be written: publish more slowly`, { retryable: true }),
      );
    return new Promise((resolve, reject) => {
      this.#queue.push({ bytes, needsRoom: request.needsRoom, stage: request.stage, resolve, reject });
      this.#queuedBytes += bytes;
      this.#draining ??= this.#drain();
    });
  }

  /** Resolves when everything that was asked for before has been written or refused. */
  async idle(): Promise<void> {
    while (this.#draining !== null) await this.#draining;
  }

  async #drain(): Promise<void> {
    // Lets the publishes of the same tick share the first transaction.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const group = await this.#admit(this.#takeGroup());
      if (group.length > 0) await this.#commit(group);
    }
    this.#draining = null;
  }

  #takeGroup(): readonly Write[] {
    let bytes = 0;
    let count = 0;
    for (const write of this.#queue) {
      if (count > 0 && bytes + write.bytes > TRANSACTION_BYTES) break;
      bytes += write.bytes;
      count += 1;
    }
    this.#queuedBytes -= bytes;
    return this.#queue.splice(0, count);
  }

  /** Refuses what finds no room, after asking for some. */
  async #admit(group: readonly Write[]): Promise<readonly Write[]> {
    const wanted = group.reduce((sum, write) => sum + (write.needsRoom ? write.bytes : 0), 0);
    let free: number;
    try {
      if (wanted === 0 || this.#takeCredit(wanted)) return group;
      await this.#options.makeRoom();
      free = this.#free();
    } catch (error) {
      for (const write of group) write.reject(error);
      return [];
    }
    return group.filter((write) => {
      if (!write.needsRoom) return true;
      if (write.bytes <= free) {
        free -= write.bytes;
        return true;
      }
      write.reject(this.#isFull(write.bytes));
      return false;
    });
  }

  /** To ask costs as much as a small transaction. Half of what is free is given out at a time, since what is wanted is an estimate. */
  #takeCredit(wanted: number): boolean {
    if (this.#credit < wanted) {
      const free = this.#free();
      this.#credit = free / 2;
      if (this.#credit < wanted) return free >= wanted;
    }
    this.#credit -= wanted;
    return true;
  }

  #free(): number {
    return this.#options.bytesMax - this.#options.store.usedBytes();
  }

  #isFull(bytes: number): BusError {
    return new BusError(
      "full",
      `no room for ${bytes} bytes more: the bus may hold ${this.#options.bytesMax}, and what it holds has yet to be read or kept`,
      { retryable: true },
    );
  }

  async #commit(group: readonly Write[]): Promise<void> {
    const { store, onAppended } = this.#options;
    try {
      await store.transaction(() => {
        for (const write of group) write.stage();
      });
    } catch (error) {
      for (const write of group) write.reject(error);
      return;
    }
    try {
      onAppended(await store.sync());
    } catch (thrown) {
      // After a failed flush the kernel may have dropped the pages, and a later flush would lie (the fsync lesson of PostgreSQL, 2018).
      this.#failure = new BusError("corrupt", `the disk refused to flush the bus: ${asError(thrown).message}`, {
        retryable: false,
        cause: thrown,
      });
      for (const write of [...group, ...this.#queue.splice(0)]) write.reject(this.#failure);
      this.#queuedBytes = 0;
      return;
    }
    for (const write of group) write.resolve();
  }
}
