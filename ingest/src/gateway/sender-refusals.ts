import type { HealthEpisodes } from "./health-episodes.ts";
import { PEER, SENDER } from "./trouble-entity.ts";

const WINDOW_MS = 60_000;
/** Fewer within a minute are everyday: a sender that is being set up, a connection that broke. */
const REFUSED_MIN = 20;
/** Of those that want to take more than their share: few are enough. */
const GRAVE_MIN = 3;
const GRAVE: ReadonlySet<string> = new Set(["http_408", "http_413", "http_431", "connection_refused"]);
/** The gateway's own trouble, not the sender's: `gateway_bus_failing` tells it. */
const NOT_THE_SENDERS: ReadonlySet<string> = new Set(["http_429", "http_503"]);
/** Senders stand in the configuration: tokens and networks together. */
const SENDERS_MAX = 400;
/** Strangers with an address of their own; further ones are told of together, so that they cannot crowd out other findings. */
const PEERS_MAX = 50;
const MESSAGE_LENGTH_MAX = 300;

export interface RefusedRequest {
  /** "": nobody known. */
  readonly sender: string;
  readonly receiver: string;
  /** The network address that it came from. */
  readonly peer: string;
}

/** `reason` is of a fixed set: `http_<status>`, or the receiver's own. */
export interface RequestRefusal {
  readonly reason: string;
  readonly message: string;
}

interface Refusals {
  readonly entityHost: string;
  startedAtUnixMs: number;
  lastAtUnixMs: number;
  count: number;
  graveCount: number;
  isFiring: boolean;
  last: RefusedRequest & RequestRefusal;
}

/** Follows whose requests are refused in bulk, by the minute: of senders by name, of strangers by network address. */
export class SenderRefusals {
  readonly #options: { now: () => number; episodes: HealthEpisodes };
  readonly #senders = new Map<string, Refusals>();
  readonly #peers = new Map<string, Refusals>();

  constructor(options: { now: () => number; episodes: HealthEpisodes }) {
    this.#options = options;
  }

  note(request: RefusedRequest, refusal: RequestRefusal): void {
    if (NOT_THE_SENDERS.has(refusal.reason)) return;
    const now = this.#options.now();
    const last = { ...request, reason: refusal.reason, message: refusal.message.slice(0, MESSAGE_LENGTH_MAX) };
    const refusals = this.#of(last, now);
    if (now - refusals.startedAtUnixMs >= WINDOW_MS && !refusals.isFiring) begin(refusals, now);
    refusals.count++;
    if (GRAVE.has(last.reason)) refusals.graveCount++;
    refusals.last = last;
    refusals.lastAtUnixMs = now;
  }

  /** Once a second. */
  check(): void {
    for (const all of [this.#senders, this.#peers]) for (const [key, refusals] of all) this.#check(all, key, refusals);
  }

  #check(all: Map<string, Refusals>, key: string, refusals: Refusals): void {
    const now = this.#options.now();
    const { entityHost, isFiring, count, graveCount, startedAtUnixMs, lastAtUnixMs } = refusals;
    if (now - lastAtUnixMs >= WINDOW_MS) {
      all.delete(key);
      const summary = `No request of ${entityHost} was refused for a minute.`;
      this.#options.episodes.resolve("sender_requests_refused", entityHost, summary);
      return;
    }
    if (count >= REFUSED_MIN || graveCount >= GRAVE_MIN) this.#fire(refusals);
    if (isFiring && now - startedAtUnixMs >= WINDOW_MS) begin(refusals, now);
  }

  #fire(refusals: Refusals): void {
    const { entityHost, count, last, startedAtUnixMs } = refusals;
    refusals.isFiring = true;
    const summary =
      `${count} requests of ${entityHost} were refused within a minute, the last by ${last.receiver} ` +
      `as ${last.reason}: ${last.message}`;
    const labels = {
      sender: last.sender,
      peer: last.peer,
      receiver: last.receiver,
      reason: last.reason,
      count: String(count),
    };
    const told = { rule: "sender_requests_refused", subject: entityHost, summary, labels, entityHost } as const;
    this.#options.episodes.fire(told, startedAtUnixMs);
  }

  #of(last: Refusals["last"], now: number): Refusals {
    const isKnown = last.sender !== "";
    const all = isKnown ? this.#senders : this.#peers;
    const name = isKnown ? last.sender : last.peer;
    const key = all.has(name) || all.size < (isKnown ? SENDERS_MAX : PEERS_MAX) ? name : "";
    const refusals = all.get(key) ?? {
      entityHost: `${isKnown ? SENDER : PEER}${key === "" ? "others" : key}`,
      startedAtUnixMs: now,
      lastAtUnixMs: now,
      count: 0,
      graveCount: 0,
      isFiring: false,
      last,
    };
    all.set(key, refusals);
    return refusals;
  }
}

/** A new minute; an episode that lasts goes on. */
const begin = (refusals: Refusals, now: number): void => {
  refusals.startedAtUnixMs = now;
  refusals.count = 0;
  refusals.graveCount = 0;
};
