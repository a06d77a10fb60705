import { createCipheriv, createDecipheriv, type KeyObject } from "node:crypto";

/**
 * What control plane and agent say to each other through a site server that is not trusted: AES-256-GCM with a key and a counter for each
 * direction (NIST SP 800-38D, 8.2.1). The counter is not sent: a message that was altered, repeated, moved or preceded by one that is
 * missing does not open, and the session is over then.
 */
export interface SealedSession {
  /** @throws SealError when the key has sealed as much as it may. */
  seal(plain: Uint8Array): Buffer;
  /** @throws SealError, and from then on for whatever comes. */
  open(sealed: Uint8Array): Buffer;
  /**
   * Whether the peer has shown that it holds the keys, by one message that opened. A hello that somebody recorded and sent again makes a
   * session that never gets there: control lets nothing depend on a session (such as ending the one before) until it is confirmed.
   */
  readonly confirmed: boolean;
}

/** The session is worth nothing any more: make a new one. */
export class SealError extends Error {
  override readonly name = "SealError";
}

const TAG_BYTES = 16;
const COUNTER_BYTES = 12;
/** Of one key, by messages and by bytes: below what RFC 8446 (5.5) allows for AES-GCM. */
const MESSAGES_MAX = 2 ** 32;
const BYTES_MAX = 2 ** 38;
const CIPHER = "aes-256-gcm";

/** The nonce of each message of one direction, and where the key has done its work. */
class Counter {
  readonly nonce = Buffer.alloc(COUNTER_BYTES);
  #messages = 0;
  #bytes = 0;

  /** Sets the nonce for a message of this many bytes. */
  next(bytes: number): Buffer {
    this.#bytes += bytes;
    if (this.#messages >= MESSAGES_MAX || this.#bytes > BYTES_MAX)
      throw new SealError("the session has sealed as much as one key may");
    this.nonce.writeUInt32BE(this.#messages, COUNTER_BYTES - 4);
    this.#messages += 1;
    return this.nonce;
  }
}

/** Secret KeyObjects, made once: with raw bytes each message costs three times as much. */
export interface SessionKeys {
  readonly send: KeyObject;
  readonly receive: KeyObject;
}

class KeyedSession implements SealedSession {
  readonly #keys: SessionKeys;
  readonly #sent = new Counter();
  readonly #received = new Counter();
  #broken = false;
  confirmed = false;

  constructor(keys: SessionKeys) {
    this.#keys = keys;
  }

  seal(plain: Uint8Array): Buffer {
    const cipher = createCipheriv(CIPHER, this.#keys.send, this.#sent.next(plain.byteLength));
    const head = cipher.update(plain);
    cipher.final();
    return Buffer.concat([head, cipher.getAuthTag()], head.byteLength + TAG_BYTES);
  }

  open(sealed: Uint8Array): Buffer {
    if (this.#broken) throw new SealError("the session is over: a message did not open");
    this.#broken = true;
    const end = sealed.byteLength - TAG_BYTES;
    if (end < 0) throw new SealError(`a sealed message has at least ${TAG_BYTES} bytes, not ${sealed.byteLength}`);
    const decipher = createDecipheriv(CIPHER, this.#keys.receive, this.#received.next(end), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAuthTag(sealed.subarray(end));
    const plain = decipher.update(sealed.subarray(0, end));
    try {
      decipher.final();
    } catch {
      throw new SealError("a sealed message was altered, repeated, out of order, or one before it is missing");
    }
    this.#broken = false;
    this.confirmed = true;
    return plain;
  }
}

export const sealedSession = (keys: SessionKeys): SealedSession => new KeyedSession(keys);
