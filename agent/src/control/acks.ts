import type { Timers } from "./timers.ts";

/** An agent tells a result again after 15 s without an acknowledgement, and holds 64 until then. What is held goes after one to two of these. */
const HELD_MS = 4_000;
const HELD_MAX = 16;

export interface AckPorts {
  readonly timers: Timers;
  tell(host: string, commandIds: readonly string[]): void;
}

/**
 * Nobody waits for an acknowledgement, and a message of its own costs site server and agent as much as a command: it goes along with the
 * host's next command, or a little later.
 */
export class Acks {
  readonly #ports: AckPorts;
  #held = new Map<string, string[]>();
  /** Held since before the time began that runs now. */
  #older = new Map<string, string[]>();
  #isTimed = false;

  constructor(ports: AckPorts) {
    this.#ports = ports;
  }

  add(host: string, commandIds: readonly string[]): void {
    const held = this.#older.get(host) ?? this.#held.get(host) ?? [];
    if (held.length === 0) this.#held.set(host, held);
    held.push(...commandIds);
    if (held.length >= HELD_MAX) this.#tell(host);
    else this.#tellLater();
  }

  /** The host is about to be sent something: what is held goes with it. */
  take(host: string): readonly string[] | null {
    const held = this.#older.get(host) ?? this.#held.get(host);
    if (held === undefined) return null;
    if (!this.#older.delete(host)) this.#held.delete(host);
    return held;
  }

  #tell(host: string): void {
    const held = this.take(host);
    if (held !== null) this.#ports.tell(host, held);
  }

  #tellLater(): void {
    if (this.#isTimed) return;
    this.#isTimed = true;
    this.#ports.timers.after(HELD_MS, () => {
      this.#isTimed = false;
      const due = this.#older;
      this.#older = this.#held;
      this.#held = new Map();
      for (const [host, commandIds] of due) this.#ports.tell(host, commandIds);
      if (this.#older.size > 0) this.#tellLater();
    });
  }
}
