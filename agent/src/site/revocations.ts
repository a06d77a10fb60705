import type { RevokedList } from "../channel/frame.ts";

/** Of all sites and hosts; beyond it a list is not believed to be one. */
const ENTRIES_MAX = 1_000_000;

/** What control has told is revoked. Kept while control is out of reach. */
export class Revocations {
  #serials: ReadonlySet<string> = new Set();
  #hosts: ReadonlySet<string> = new Set();
  #coming: { serials: string[]; hosts: string[] } = { serials: [], hosts: [] };
  /** Control has told once. Until then nobody can be known to be revoked, and nothing is taken for the bus. */
  isKnown = false;

  /** "whole": the list has taken the place of the one before. */
  add(part: RevokedList): "part" | "whole" | "too many" {
    for (const serial of part.serials) this.#coming.serials.push(serial);
    for (const host of part.hosts) this.#coming.hosts.push(host);
    if (this.#coming.serials.length + this.#coming.hosts.length > ENTRIES_MAX) return "too many";
    if (!part.is_last) return "part";
    this.#serials = new Set(this.#coming.serials);
    this.#hosts = new Set(this.#coming.hosts);
    this.restart();
    this.isKnown = true;
    return "whole";
  }

  /** A list that was cut off half-way is not gone on with. */
  restart(): void {
    this.#coming = { serials: [], hosts: [] };
  }

  has(peer: { readonly name: string; readonly serial: string }): boolean {
    return this.#serials.has(peer.serial) || this.#hosts.has(peer.name);
  }
}
