import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { Log } from "@homeostat/schemas";
import { shuffled } from "../channel/shuffled.ts";
import { EnrolError, enrol } from "../host/enrol.ts";
import { exchangeThrough } from "../host/enrol-exchange.ts";
import { type IdentityFiles, StoredIdentity, tlsIdentityOf } from "../host/identity-files.ts";
import type { VirtualIdentity } from "./virtual-agent.ts";

/** Site servers let in only so many strangers a second. */
const BUSY_MS_MIN = 100;
const BUSY_MS_SPREAD = 900;

export interface VirtualIdentitiesOptions {
  readonly path: string;
  readonly servers: readonly string[];
  readonly token: string | null;
  readonly log: Log;
  readonly now: () => number;
  readonly random: () => number;
}

/** Keys and certificates of the virtual agents of one process, in one file of lines that nobody else may read. */
export class VirtualIdentities {
  readonly #options: VirtualIdentitiesOptions;
  readonly #fd: number;
  readonly #identities = new Map<string, StoredIdentity>();
  readonly #nextKeys = new Map<string, string>();
  /** All agents trust the same few keys. */
  readonly #keys = new Map<string, KeyObject>();
  #isClosed = false;

  private constructor(options: VirtualIdentitiesOptions) {
    this.#options = options;
    this.#fd = openSync(options.path, "a+", 0o600);
    this.#load(options.path);
  }

  static open(options: VirtualIdentitiesOptions): VirtualIdentities {
    return new VirtualIdentities(options);
  }

  get size(): number {
    return this.#identities.size;
  }

  close(): void {
    if (!this.#isClosed) closeSync(this.#fd);
    this.#isClosed = true;
  }

  /** Enrols the host when it has not been. @throws EnrolError when that is refused. */
  async of(host: string): Promise<VirtualIdentity> {
    const identity = this.#identities.get(host) ?? (await this.#enrol(host));
    const trustedKeys = identity.command_keys.map((pem) => this.#key(pem));
    return { site: identity.site, tls: tlsIdentityOf(identity), trustedKeys };
  }

  async #enrol(host: string): Promise<StoredIdentity> {
    const { servers, token, now, random } = this.#options;
    if (token === null) throw new Error(`${host} has no identity, and there is no token to enrol it with`);
    const exchange = exchangeThrough(() => shuffled(servers, random), now);
    for (;;) {
      try {
        return await enrol({ token, kind: "agent", host, files: this.#filesOf(host), exchange });
      } catch (error) {
        if (!(error instanceof EnrolError) || !error.retryable || this.#isClosed) throw error;
        if (error.code !== "busy") this.#options.log.warn({ host, error: error.message }, "cannot enrol; trying again");
        await delay(BUSY_MS_MIN + random() * BUSY_MS_SPREAD);
      }
    }
  }

  #filesOf(host: string): IdentityFiles {
    return {
      read: () => this.#identities.get(host) ?? null,
      write: (identity) => {
        this.#append(identity);
        this.#identities.set(host, identity);
        this.#nextKeys.delete(host);
      },
      nextKey: () => {
        const known = this.#nextKeys.get(host);
        if (known !== undefined) return createPrivateKey(known);
        const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
        const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
        this.#append({ host, next_key: pem });
        this.#nextKeys.set(host, pem);
        return privateKey;
      },
    };
  }

  #key(pem: string): KeyObject {
    const known = this.#keys.get(pem) ?? createPublicKey(pem);
    this.#keys.set(pem, known);
    return known;
  }

  #append(line: object): void {
    writeFileSync(this.#fd, `${JSON.stringify(line)}\n`);
  }

  #load(path: string): void {
    const text = readFileSync(path, "utf8");
    // A torn last line was never relied upon. What follows it must not be torn by it too.
    if (text.length > 0 && !text.endsWith("\n")) writeFileSync(this.#fd, "\n");
    for (const line of text.split("\n")) this.#apply(line);
  }

  #apply(line: string): void {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      return;
    }
    if (value === null || typeof value !== "object") return;
    if ("next_key" in value && "host" in value) {
      this.#nextKeys.set(String(value.host), String(value.next_key));
      return;
    }
    const identity = StoredIdentity.safeParse(value);
    if (!identity.success) return;
    this.#identities.set(identity.data.host, identity.data);
    this.#nextKeys.delete(identity.data.host);
  }
}
