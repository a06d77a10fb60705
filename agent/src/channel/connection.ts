import type { Duplex } from "node:stream";
import { FRAME_BYTES_MAX, HEADER_BYTES } from "./frame.ts";

export interface Frame {
  readonly type: number;
  readonly body: Buffer;
}

/** One object may stand behind many connections' worth of methods: nothing here is a closure per connection. */
export interface ConnectionOwner {
  /** Of what follows the length of a frame; asked for each frame, so that it may grow once a peer is known. */
  readonly frameBytesMax: number;
  /** Bytes that a peer may leave unread before it is cut off as a slow consumer. */
  readonly queueBytesMax: number;
  /** The body shares memory with its neighbours: copy what is kept for long. */
  onFrame(type: number, body: Buffer): void;
  /** Exactly once. */
  onClose(reason: string): void;
  /** After `send` has said false: the peer has caught up. */
  onDrain?(): void;
}

/** Beyond this much unsent, `send` asks its caller to wait. */
const BEHIND_BYTES = 262_144;
/** Frames of one turn of the event loop leave as one write of up to this: one record of TLS holds 16 KiB (RFC 8446, 5.1). */
const STAGE_BYTES_MAX = 65_536;
const STAGE_BYTES_MIN = 1_024;
const PARTIAL_BYTES_MIN = 64;
/** What a closed connection still gets to send its last words. */
const LINGER_MS = 2_000;

const CONNECTION = Symbol("connection");
type Bound = Duplex & { [CONNECTION]?: Connection };

/**
 * Frames over a stream. What is sent in one turn of the event loop is copied into one buffer and written once: with TLS a write costs
 * far more than a copy. What comes in is cut into views, without a copy unless a frame spans chunks.
 */
export class Connection {
  readonly stream: Duplex;
  readonly #owner: ConnectionOwner;
  #stage: Buffer | null = null;
  #staged = 0;
  #partial: Buffer | null = null;
  #partialBytes = 0;
  #isDirty = false;
  #hasSaidBehind = false;
  #isClosed = false;
  /** Something has come in since this was last set to false. */
  isHeard = true;

  constructor(stream: Duplex, owner: ConnectionOwner) {
    this.stream = stream;
    this.#owner = owner;
    (stream as Bound)[CONNECTION] = this;
    stream.on("data", onData);
    stream.on("drain", onDrain);
    stream.on("error", onError);
    stream.on("end", onEnd);
    stream.on("close", onStreamClose);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Bytes that have been sent and not yet been taken by the operating system. */
  get queuedBytes(): number {
    return this.stream.writableLength + this.#staged;
  }

  get isBehind(): boolean {
    return this.queuedBytes > BEHIND_BYTES;
  }

  /**
   * The bytes are copied. False: it was taken (unless the connection is closed), and the peer is behind: wait for onDrain.
   * @throws RangeError when the frame is larger than FRAME_BYTES_MAX
   */
  send(type: number, ...parts: readonly Uint8Array[]): boolean {
    if (this.#isClosed) return false;
    let bytes = 1;
    for (const part of parts) bytes += part.length;
    if (bytes > FRAME_BYTES_MAX) throw new RangeError(`a frame of ${bytes} bytes: want 1 to ${FRAME_BYTES_MAX}`);
    const stage = this.#room(bytes + 4);
    let at = stage.writeUInt32BE(bytes, this.#staged);
    at = stage.writeUInt8(type, at);
    for (const part of parts) {
      stage.set(part, at);
      at += part.length;
    }
    this.#staged = at;
    if (!this.#isDirty) {
      this.#isDirty = true;
      flushSoon(this);
    }
    const queued = this.queuedBytes;
    if (queued > this.#owner.queueBytesMax) {
      this.close(`slow consumer: ${queued} bytes are unread`);
      return false;
    }
    if (queued <= BEHIND_BYTES) return true;
    this.#hasSaidBehind = true;
    return false;
  }

  /** Sends what is staged, then ends; a peer that does not read is cut off. */
  close(reason: string): void {
    if (this.#isClosed) return;
    this.flush();
    this.#isClosed = true;
    this.#partial = null;
    if (this.stream.writableLength > BEHIND_BYTES) this.stream.destroy();
    else if (!this.stream.destroyed) {
      this.stream.end();
      // A peer that never answers the end must not keep the descriptor.
      const linger = setTimeout(() => this.stream.destroy(), LINGER_MS);
      linger.unref();
      this.stream.once("close", () => clearTimeout(linger));
      this.stream.resume();
    }
    this.#owner.onClose(reason);
  }

  /** Ends at once, for peers that are silent or lie. */
  destroy(reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#partial = null;
    this.#stage = null;
    this.#staged = 0;
    this.stream.destroy();
    this.#owner.onClose(reason);
  }

  flush(): void {
    this.#isDirty = false;
    const stage = this.#stage;
    if (stage === null) return;
    const bytes = this.#staged;
    this.#stage = null;
    this.#staged = 0;
    if (bytes > 0 && !this.#isClosed && this.stream.writable) this.stream.write(stage.subarray(0, bytes));
    this.#sayDrained();
  }

  /** A stage that is too small is copied into a larger one: two writes cost more. */
  #room(bytes: number): Buffer {
    const stage = this.#stage;
    if (stage !== null && this.#staged + bytes <= stage.length) return stage;
    if (this.#staged + bytes > STAGE_BYTES_MAX) this.#write();
    const grown = stage === null ? STAGE_BYTES_MIN : Math.min(STAGE_BYTES_MAX, stage.length * 4);
    const fresh = Buffer.allocUnsafe(Math.max(grown, this.#staged + bytes));
    this.#stage?.copy(fresh, 0, 0, this.#staged);
    this.#stage = fresh;
    return fresh;
  }

  #write(): void {
    if (this.#stage !== null && this.#staged > 0 && this.stream.writable)
      this.stream.write(this.#stage.subarray(0, this.#staged));
    this.#stage = null;
    this.#staged = 0;
  }

  #sayDrained(): void {
    if (!this.#hasSaidBehind || this.#isClosed || this.queuedBytes > BEHIND_BYTES) return;
    this.#hasSaidBehind = false;
    this.#owner.onDrain?.();
  }

  // ——— called by the stream

  read(chunk: Buffer): void {
    this.isHeard = true;
    let at = 0;
    while (at < chunk.length && !this.#isClosed)
      at = this.#partial === null ? this.#cut(chunk, at) : this.#fill(chunk, at);
  }

  /** Hands on the frames that are whole, as views; what is left over is kept. Returns the end. */
  #cut(bytes: Buffer, from: number): number {
    let at = from;
    while (bytes.length - at >= HEADER_BYTES) {
      const length = this.#lengthAt(bytes, at);
      if (length === 0) return bytes.length;
      if (bytes.length - at - 4 < length) break;
      const type = bytes[at + 4] ?? 0;
      const body = bytes.subarray(at + HEADER_BYTES, at + 4 + length);
      at += 4 + length;
      this.#owner.onFrame(type, body);
      if (this.#isClosed) return bytes.length;
    }
    if (at < bytes.length) this.#keep(bytes.subarray(at));
    return bytes.length;
  }

  /** 0: not allowed, and the connection is closed. */
  #lengthAt(bytes: Buffer, at: number): number {
    const length = bytes.readUInt32BE(at);
    if (length >= 1 && length <= this.#owner.frameBytesMax) return length;
    this.destroy(`a frame of ${length} bytes: want 1 to ${this.#owner.frameBytesMax}`);
    return 0;
  }

  /** Only what has come takes memory, whatever the length announces; doubling keeps a byte at a time cheap. */
  #keep(bytes: Buffer): void {
    this.#partial = Buffer.allocUnsafeSlow(Math.max(bytes.length * 2, PARTIAL_BYTES_MIN));
    bytes.copy(this.#partial);
    this.#partialBytes = bytes.length;
  }

  /** Adds to the frame that has come in part; hands it on when it is whole. Returns how far the chunk was used. */
  #fill(chunk: Buffer, from: number): number {
    let at = this.#add(chunk, from, HEADER_BYTES);
    if (this.#partial === null || this.#partialBytes < HEADER_BYTES) return at;
    const length = this.#lengthAt(this.#partial, 0);
    if (length === 0) return chunk.length;
    at = this.#add(chunk, at, length + 4);
    if (this.#partialBytes < length + 4) return at;
    const whole = this.#partial.subarray(0, length + 4);
    this.#partial = null;
    this.#owner.onFrame(whole[4] ?? 0, whole.subarray(HEADER_BYTES));
    return at;
  }

  #add(chunk: Buffer, from: number, upTo: number): number {
    const bytes = Math.min(upTo - this.#partialBytes, chunk.length - from);
    if (bytes <= 0 || this.#partial === null) return from;
    const total = this.#partialBytes + bytes;
    if (total > this.#partial.length) {
      const grown = Buffer.allocUnsafeSlow(Math.min(upTo, Math.max(total, this.#partial.length * 2)));
      this.#partial.copy(grown, 0, 0, this.#partialBytes);
      this.#partial = grown;
    }
    chunk.copy(this.#partial, this.#partialBytes, from, from + bytes);
    this.#partialBytes = total;
    return from + bytes;
  }

  drained(): void {
    this.#sayDrained();
  }

  ended(reason: string): void {
    this.destroy(reason);
  }
}

/** Connections with something to send, of the whole process: one pass after each round of input serves them all. */
let dirty: Connection[] = [];

const flushSoon = (connection: Connection): void => {
  if (dirty.push(connection) === 1) setImmediate(flushAll);
};

const flushAll = (): void => {
  const connections = dirty;
  dirty = [];
  for (const connection of connections) connection.flush();
};

function onData(this: Duplex, chunk: Buffer): void {
  (this as Bound)[CONNECTION]?.read(chunk);
}

function onDrain(this: Duplex): void {
  (this as Bound)[CONNECTION]?.drained();
}

function onError(this: Duplex, error: Error): void {
  (this as Bound)[CONNECTION]?.ended(reasonOf(error));
}

function onEnd(this: Duplex): void {
  (this as Bound)[CONNECTION]?.ended("the peer closed");
}

function onStreamClose(this: Duplex): void {
  (this as Bound)[CONNECTION]?.ended("the connection is gone");
}

const reasonOf = (error: Error & { code?: unknown }): string =>
  typeof error.code === "string" ? `${error.code}: ${error.message}`.slice(0, 300) : error.message.slice(0, 300);
