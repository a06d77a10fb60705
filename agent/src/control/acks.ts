import type { Timers } from "./timers.ts";

/** An agent tells a result again after 15 s without an acknowledgement, and holds 64 until then. */
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
  readonly #held = new Map<string, string[]>();
  #isTimed = false;

  constructor(ports: AckPorts) {
    this.#ports = ports;
  }

  add(host: string, commandIds: readonly string[]): void {
    const held = this.#held.get(host);
    if (held === undefined) this.#held.set(host, [...commandIds]);
    else held.push(...commandIds);
    if ((held?.length ?? commandIds.length) >= HELD_MAX) this.flush(host);
    else this.#flushLater();
  }

  /** The host is about to be sent something: what is held goes ahead of it, and with it. */
  flush(host: string): void {
    const held = this.#held.get(host);
    if (held === undefined) return;
    this.#held.delete(host);
    this.#ports.tell(host, held);
  }

  #flushLater(): void {
    if (this.#isTimed) return;
    this.#isTimed = true;
    this.#ports.timers.after(HELD_MS, () => {
      this.#isTimed = false;
      for (const host of [...this.#held.keys()]) this.flush(host);
    });
  }
}
