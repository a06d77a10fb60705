import type { Timers } from "./timers.ts";

/** An agent tells a result again after 15 s without an acknowledgement, and holds 64 until then. */
const HELD_MS = 6_000;
const HELD_MAX = 16;
/** A fleet that has answered together is not told together: ten thousand messages at a time hold up whatever else goes through a site server. */
const TICK_MS = 50;
const TICKS_HELD = HELD_MS / TICK_MS;
const HOSTS_PER_TICK = 100;
/** Of very many this share goes at a time, so that even a hundred thousand are told in time. */
const SHARE_PER_TICK = 1 / 40;

export interface AckPorts {
  readonly timers: Timers;
  tell(host: string, commandIds: readonly string[]): void;
}

interface Held {
  readonly commandIds: string[];
  readonly dueTick: number;
}

/**
 * Nobody waits for an acknowledgement but an agent that ends, and a message of its own costs site server and agent as much as a command: it
 * goes along with the host's next command, or a little later.
 */
export class Acks {
  readonly #ports: AckPorts;
  /** The longest held first. */
  readonly #held = new Map<string, Held>();
  /** Hosts that wait, as long as their sessions last. */
  readonly #leaving = new Set<string>();
  #tick = 0;
  #isTimed = false;

  constructor(ports: AckPorts) {
    this.#ports = ports;
  }

  add(host: string, commandIds: readonly string[]): void {
    const held = this.#held.get(host) ?? { commandIds: [], dueTick: this.#tick + TICKS_HELD };
    held.commandIds.push(...commandIds);
    this.#held.set(host, held);
    if (held.commandIds.length >= HELD_MAX || this.#leaving.has(host)) this.#tell(host);
    else this.#tellLater();
  }

  /** Its agent ends, and does so once nothing is held back: it is told at once, what comes from now on too. */
  leaving(host: string): void {
    this.#leaving.add(host);
    this.#tell(host);
  }

  /** Its session is over, or another has begun. */
  gone(host: string): void {
    this.#leaving.delete(host);
  }

  /** The host is about to be sent something: what is held goes with it. */
  take(host: string): readonly string[] | null {
    const held = this.#held.get(host);
    if (held === undefined) return null;
    this.#held.delete(host);
    return held.commandIds;
  }

  #tell(host: string): void {
    const commandIds = this.take(host);
    if (commandIds !== null) this.#ports.tell(host, commandIds);
  }

  #tellLater(): void {
    if (this.#isTimed) return;
    this.#isTimed = true;
    this.#ports.timers.after(TICK_MS, () => {
      this.#isTimed = false;
      this.#tick += 1;
      this.#tellDue(Math.max(HOSTS_PER_TICK, Math.ceil(this.#held.size * SHARE_PER_TICK)));
      if (this.#held.size > 0) this.#tellLater();
    });
  }

  #tellDue(most: number): void {
    let left = most;
    for (const [host, { dueTick }] of this.#held) {
      if (dueTick > this.#tick || left === 0) return;
      left -= 1;
      this.#tell(host);
    }
  }
}
