import { createHash } from "node:crypto";
import { type Log, releaseBytes } from "@homeostat/schemas";
import type { RoomAccount } from "./byte-room.ts";
import type { Answer } from "./receiver-route.ts";

/** About 1 KB each; beyond it the oldest that nobody waits for is forgotten, and its retry would double its records. */
const REQUESTS_MAX = 10_000;
/** Senders that retry at all have done so by then, counted from when the bus had the records and nobody waited any more. */
const AGE_MS_MAX = 900_000;

export interface UnansweredRequest {
  /** What to answer once the bus has its records; rejects when it will never have them. */
  readonly outcome: Promise<Answer>;
}

class Entry implements UnansweredRequest {
  readonly key: string;
  readonly outcome: Promise<Answer>;
  readonly account: RoomAccount;
  /** Kept while somebody waits; then its digest stands for it. */
  body: Buffer | null;
  digest: Buffer | null = null;
  waiting = 1;
  settledAtUnixMs = Number.POSITIVE_INFINITY;

  constructor(key: string, body: Buffer, rest: { outcome: Promise<Answer>; account: RoomAccount }) {
    this.key = key;
    this.body = body;
    this.outcome = rest.outcome;
    this.account = rest.account;
  }

  isOf(body: Buffer): boolean {
    if (this.body !== null) return this.body.equals(body);
    return this.digest?.equals(sha256(body)) ?? false;
  }
}

/**
 * The requests whose senders have not been told of success yet: those under way, those that were told to come again while their records wait for
 * the bus, and those whose senders hung up. When such a body comes again it joins the first, so that its records are on the bus once. A request that was
 * answered is forgotten at once: the same body after that is new.
 */
export class UnansweredRequests {
  readonly #options: { now: () => number; log: Log };
  readonly #byKey = new Map<string, Entry[]>();
  /** In the order of arrival. */
  readonly #all = new Set<Entry>();

  constructor(options: { now: () => number; log: Log }) {
    this.#options = options;
  }

  get size(): number {
    return this.#all.size;
  }

  /** The request that this one repeats. `key` tells sender, route and form of the body. Whoever joins must leave. */
  join(key: string, body: Buffer): UnansweredRequest | null {
    const entry = this.#byKey.get(fullKey(key, body))?.find((one) => one.isOf(body));
    if (entry === undefined) return null;
    entry.waiting++;
    return entry;
  }

  /** `account` holds the body, and is closed when the body is let go. Whoever adds must leave. */
  add(key: string, body: Buffer, rest: { outcome: Promise<Answer>; account: RoomAccount }): UnansweredRequest {
    this.#makeRoom();
    const entry = new Entry(fullKey(key, body), body, rest);
    this.#all.add(entry);
    this.#byKey.set(entry.key, [...(this.#byKey.get(entry.key) ?? []), entry]);
    const settled = () => {
      entry.settledAtUnixMs = this.#options.now();
    };
    // What failed for good is not on its way: its retry begins anew.
    entry.outcome.then(settled, () => this.#forget(entry));
    return entry;
  }

  /** One of those who waited has got its answer, or has gone without. */
  leave(request: UnansweredRequest, { isAnswered }: { isAnswered: boolean }): void {
    if (!(request instanceof Entry) || !this.#all.has(request)) return;
    request.waiting--;
    if (isAnswered) this.#forget(request);
    else if (request.waiting === 0) this.#setAside(request);
  }

  #setAside(entry: Entry): void {
    if (entry.settledAtUnixMs < Number.POSITIVE_INFINITY) entry.settledAtUnixMs = this.#options.now();
    if (entry.body === null) return;
    entry.digest = sha256(entry.body);
    letGo(entry);
    entry.account.close();
  }

  #makeRoom(): void {
    const oldestUnixMs = this.#options.now() - AGE_MS_MAX;
    for (const entry of this.#all) {
      const isFull = this.#all.size >= REQUESTS_MAX;
      if (!isFull && entry.settledAtUnixMs >= oldestUnixMs) return;
      if (entry.waiting > 0) continue;
      if (isFull) this.#options.log.warn({}, "too many requests wait for the bus: a retry of the oldest would double");
      this.#forget(entry);
    }
  }

  #forget(entry: Entry): void {
    if (!this.#all.delete(entry)) return;
    letGo(entry);
    entry.account.close();
    const rest = (this.#byKey.get(entry.key) ?? []).filter((one) => one !== entry);
    if (rest.length === 0) this.#byKey.delete(entry.key);
    else this.#byKey.set(entry.key, rest);
  }
}

const letGo = (entry: Entry): void => {
  if (entry.body !== null) releaseBytes(entry.body);
  entry.body = null;
};

const fullKey = (key: string, body: Buffer): string => `${key}\n${body.length}`;

const sha256 = (body: Buffer): Buffer => createHash("sha256").update(body).digest();
