import { readFileSync } from "node:fs";
import { join } from "node:path";
import { AgentIdentity, identityKey } from "@homeostat/schemas";
import { z } from "zod";
import { writeSecret } from "../../channel/secret-file.ts";

/** Beyond it the oldest changes are forgotten here; the topic still holds them. */
const BARRED_MAX = 10_000;
const Remembered = z.array(AgentIdentity);

/**
 * Who was ever revoked or quarantined, as control last wrote it, in its own data directory: an old record that somebody puts on the bus
 * again is a genuine one, and only this tells that it is old. A control that takes over remembers what it has read itself.
 */
export class Barred {
  readonly #path: string;
  readonly #known: Map<string, AgentIdentity>;
  /** The file lacks something: the disk has not taken it. */
  #isBehind = false;

  /** @throws Error when the file cannot be read: who is shut out must not be guessed. */
  constructor(dir: string) {
    this.#path = join(dir, "barred.json");
    this.#known = new Map(read(this.#path).map((identity) => [identityKey(identity), identity]));
  }

  /** Known whatever the bus says. */
  shutOut(): readonly AgentIdentity[] {
    return [...this.#known.values()].filter(({ state }) => state !== "active");
  }

  /** The newer of what is known and what the bus says; null on the bus is nobody. */
  newer(key: string, told: AgentIdentity | null): AgentIdentity | null {
    const known = this.#known.get(key);
    if (known === undefined) return told;
    // Those who are shut out are never swept: a tombstone for one of them is from before.
    if (told === null) return known.state === "active" ? null : known;
    const isNewer =
      told.changed_at_unix_ms > known.changed_at_unix_ms ||
      (told.changed_at_unix_ms === known.changed_at_unix_ms && told.state === known.state);
    return isNewer ? told : known;
  }

  /** After what has been written or read; `keep` makes it durable. */
  remember(key: string, identity: AgentIdentity | null): void {
    if (!this.#isNews(key, identity)) return;
    this.#known.delete(key);
    if (identity !== null) this.#known.set(key, identity);
    const oldest = this.#known.size > BARRED_MAX ? this.#known.keys().next() : null;
    if (oldest !== null && !oldest.done) this.#known.delete(oldest.value);
    this.#isBehind = true;
  }

  /** Once for all that was written or read together: each time it is the whole file. @throws Error when the disk does not take it: the next one tries again. */
  keep(): void {
    if (!this.#isBehind) return;
    writeSecret(this.#path, JSON.stringify([...this.#known.values()]));
    this.#isBehind = false;
  }

  #isNews(key: string, identity: AgentIdentity | null): boolean {
    const known = this.#known.get(key);
    if (known === undefined) return identity !== null && identity.state !== "active";
    return identity === null || !isSameChange(known, identity);
  }
}

/** A certificate that was renewed since is no news here. */
const isSameChange = (a: AgentIdentity, b: AgentIdentity): boolean =>
  a.state === b.state && a.changed_at_unix_ms === b.changed_at_unix_ms;

const read = (path: string): readonly AgentIdentity[] => {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return [];
    throw thrown;
  }
  try {
    return Remembered.parse(JSON.parse(text));
  } catch (cause) {
    throw new Error(`${path} does not hold who is shut out: put back a copy, or remove it and revoke them again`, {
      cause,
    });
  }
};
