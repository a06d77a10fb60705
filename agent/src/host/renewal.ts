import { createPrivateKey, createPublicKey, sign, X509Certificate } from "node:crypto";
import type { Log } from "@homeostat/schemas";
import { type EnrolRequest, renewalBytes, signRequest } from "../channel/enrolment.ts";
import { ask, checkCertificate, type Exchange } from "./enrol.ts";
import type { IdentityFiles, StoredIdentity } from "./identity-files.ts";

export interface RenewalOptions {
  readonly identity: StoredIdentity;
  readonly files: IdentityFiles;
  /** Asks within the sealed session; the answer comes to `certificate`. False: there is none now. null: a site server, which has none ever. */
  readonly askInSession: ((request: { readonly spki: string; readonly signature: string }) => boolean) | null;
  /** For whoever has no session, or whose certificate has expired. */
  readonly exchange: Exchange;
  /** DNS names and addresses of a site server. */
  readonly names?: readonly string[];
  /** Control's clock, as far as it is known. */
  readonly now: () => number;
  /** Runs something later; returns how to call it off. */
  readonly after: (ms: number, run: () => void) => () => void;
  /** 0 to 1 */
  readonly random: () => number;
  /** What connects next takes the new one; connections that stand are left alone. */
  readonly onRenewed: (identity: StoredIdentity) => void;
  readonly log: Log;
}

export interface Renewal {
  start(): void;
  stop(): void;
  readonly identity: StoredIdentity;
  /** What came by the session. Anything but a certificate for the key that was asked for is refused, counted and logged. */
  certificate(pem: string): void;
  /** The servers say that the certificate has expired or does not count: ask with it at once, at most once in RETRY_SHARE of its life. */
  refusedByServer(): Promise<void>;
  stats(): RenewalStats;
}

export interface RenewalStats {
  readonly asked: number;
  readonly renewed: number;
  readonly failed: number;
  /** Of the certificate in use. */
  readonly not_after_unix_ms: number;
  readonly problem: string | null;
}

/** Of a certificate's life: asked for when so much has passed, which leaves a third for control to be away. */
const RENEW_SHARE = 2 / 3;
/** A fleet that was enrolled in one minute is renewed over an hour. */
const JITTER_SHARE = 1 / 20;
/** Who cannot connect before it is renewed: over a minute and a half. */
const EXPIRED_JITTER_SHARE = 1 / 1_000;
const RETRY_SHARE = 1 / 48;
/** By whatever clock, a certificate is not renewed again before. */
const REST_SHARE = 1 / 3;
/** What a timer of Node can wait. */
const TIMER_MS_MAX = 2 ** 31 - 1;

const datesOf = (pem: string): { readonly from: number; readonly to: number } => {
  const certificate = new X509Certificate(pem);
  return { from: certificate.validFromDate.getTime(), to: certificate.validToDate.getTime() };
};

class TimedRenewal implements Renewal {
  readonly #options: RenewalOptions;
  #identity: StoredIdentity;
  #dates: { readonly from: number; readonly to: number };
  #cancel: () => void = () => undefined;
  #isStopped = true;
  #asking = false;
  #restUntil = 0;
  #asked = 0;
  #renewed = 0;
  #failed = 0;
  #problem: string | null = null;

  constructor(options: RenewalOptions) {
    this.#options = options;
    this.#identity = options.identity;
    this.#dates = datesOf(options.identity.certificate);
  }

  get identity(): StoredIdentity {
    return this.#identity;
  }

  start(): void {
    this.#isStopped = false;
    this.#wait(this.#dueInMs(0));
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel();
  }

  stats(): RenewalStats {
    return {
      asked: this.#asked,
      renewed: this.#renewed,
      failed: this.#failed,
      not_after_unix_ms: this.#dates.to,
      problem: this.#problem,
    };
  }

  certificate(pem: string): void {
    try {
      this.#adopt(pem);
    } catch (thrown) {
      this.#fail(thrown);
    }
  }

  async refusedByServer(): Promise<void> {
    const now = this.#options.now();
    if (this.#asking || now < this.#restUntil) return;
    this.#restUntil = now + this.#lifeMs * RETRY_SHARE;
    await this.#askByCertificate();
  }

  get #lifeMs(): number {
    return this.#dates.to - this.#dates.from;
  }

  /** A wrong clock can make it neither hurry (no sooner than `restMs`) nor sleep for longer than a fresh certificate would let it. */
  #dueInMs(restMs: number): number {
    const dueUnixMs = this.#dates.from + this.#lifeMs * RENEW_SHARE;
    const byClock = dueUnixMs - this.#options.now();
    const isExpired = this.#options.now() > this.#dates.to;
    const jitter = this.#options.random() * this.#lifeMs * (isExpired ? EXPIRED_JITTER_SHARE : JITTER_SHARE);
    return Math.min(Math.max(byClock, restMs), this.#lifeMs * RENEW_SHARE) + jitter;
  }

  #wait(ms: number): void {
    this.#cancel();
    if (this.#isStopped) return;
    this.#cancel = this.#options.after(Math.min(ms, TIMER_MS_MAX), () => {
      // First, so that whatever becomes of this one there is a next.
      this.#wait(this.#lifeMs * RETRY_SHARE * (1 + this.#options.random()));
      void this.#ask();
    });
  }

  async #ask(): Promise<void> {
    const { askInSession, files } = this.#options;
    if (askInSession === null) return this.#askByCertificate();
    try {
      const key = files.nextKey();
      const spki = createPublicKey(key).export({ type: "spki", format: "pem" }).toString();
      const signature = sign("sha256", renewalBytes(this.#identity.host, spki), key).toString("base64");
      if (askInSession({ spki, signature })) this.#asked += 1;
      // A certificate that has expired opens no session, and only its successor will.
      else await this.#askByCertificate();
    } catch (thrown) {
      this.#fail(thrown);
    }
  }

  async #askByCertificate(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    try {
      this.#asked += 1;
      this.#adopt((await ask(this.#options.exchange, this.#request())).certificate);
    } catch (thrown) {
      this.#fail(thrown);
    } finally {
      this.#asking = false;
    }
  }

  #request(): EnrolRequest {
    const { files, names = [] } = this.#options;
    const key = files.nextKey();
    const request = {
      type: "renew" as const,
      certificate: new X509Certificate(this.#identity.certificate).toString(),
      spki: createPublicKey(key).export({ type: "spki", format: "pem" }).toString(),
      names: [...names],
    };
    const signature = signRequest(request, key);
    const certificate_signature = signRequest(request, createPrivateKey(this.#identity.private_key));
    return { ...request, signature, certificate_signature };
  }

  /** Only the certificate is taken from a renewal: what the rest of a reply says is not proved by anything. */
  #adopt(pem: string): void {
    const { files, onRenewed } = this.#options;
    const { kind, host, site, authority } = this.#identity;
    const key = files.nextKey();
    checkCertificate(pem, { kind, host, site, authority, key });
    const private_key = key.export({ type: "pkcs8", format: "pem" }).toString();
    const identity = { ...this.#identity, private_key, certificate: pem };
    files.write(identity);
    this.#identity = identity;
    this.#dates = datesOf(pem);
    this.#renewed += 1;
    this.#problem = null;
    this.#wait(this.#dueInMs(this.#lifeMs * REST_SHARE));
    onRenewed(identity);
  }

  #fail(thrown: unknown): void {
    this.#failed += 1;
    this.#problem = thrown instanceof Error ? thrown.message : String(thrown);
    this.#options.log.warn({ reason: this.#problem }, "the certificate could not be renewed");
  }
}

export const createRenewal = (options: RenewalOptions): Renewal => new TimedRenewal(options);
