import type { Progress } from "@homeostat/schemas";
import type { OutputStream } from "./executor.ts";

/** What one message carries. */
export const CHUNK_BYTES_MAX = 32_768;
/** Of one command: so fast its output goes out, and so much of it at once. */
const BYTES_PER_SECOND = 1_048_576;
const BURST_BYTES = 262_144;
/** Small pieces are gathered for this long, but for the first after a silence. */
const GATHER_MS = 20;
/** Commands that end sooner than this are only told by their result. */
const STATE_MS = 50;

export interface ProgressOptions {
  readonly host: string;
  readonly now: () => number;
  readonly monotonicMs: () => number;
  readonly publish: (progress: Progress) => void;
}

/** Tells states: late, so that a short command costs one message and not three. */
export class StateTeller {
  readonly #options: ProgressOptions;
  #states = new Map<string, Progress["state"]>();
  #timer: NodeJS.Timeout | null = null;

  constructor(options: ProgressOptions) {
    this.#options = options;
  }

  tell(commandId: string, state: Progress["state"]): void {
    this.#states.set(commandId, state);
    this.#timer ??= setTimeout(() => this.#tellAll(), STATE_MS).unref();
  }

  /** It has ended, or its output says more. */
  forget(commandId: string): void {
    this.#states.delete(commandId);
    if (this.#states.size === 0) this.stop();
  }

  #tellAll(): void {
    this.#timer = null;
    const states = this.#states;
    this.#states = new Map();
    const { host, now, publish } = this.#options;
    for (const [command_id, state] of states) publish({ command_id, host, at_unix_ms: now(), state, output: null });
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

interface Piece {
  readonly stream: OutputStream;
  readonly data: Buffer;
}

/**
 * The output of one command on its way. What goes beyond the rate is left out of stdout and stderr, which the result holds anyway, and
 * uses up its sequence number, so that the gap is seen; a pty is made to wait.
 */
export class OutputProgress {
  readonly #options: ProgressOptions;
  readonly #commandId: string;
  readonly #onFirst: () => void;
  #bytesLeft: number;
  #pieces: Piece[] = [];
  #pendingBytes = 0;
  #sequence = 0;
  #tokens = BURST_BYTES;
  #lastMs: number;
  #sentMs = -Infinity;
  #timer: NodeJS.Timeout | null = null;
  #drained: PromiseWithResolvers<void> | null = null;

  constructor(options: ProgressOptions, command: { id: string; outputBytesMax: number; onFirst: () => void }) {
    this.#options = options;
    this.#commandId = command.id;
    this.#bytesLeft = command.outputBytesMax;
    this.#onFirst = command.onFirst;
    this.#lastMs = options.monotonicMs();
  }

  add(stream: OutputStream, data: Buffer): Promise<void> | null {
    if (stream === "pty") {
      this.#push({ stream, data });
      this.#schedule();
      if (this.#pendingBytes < CHUNK_BYTES_MAX) return null;
      this.#drained ??= Promise.withResolvers();
      return this.#drained.promise;
    }
    const head = data.subarray(0, this.#bytesLeft);
    this.#bytesLeft -= head.length;
    if (head.length === 0) return null;
    this.#push({ stream, data: head });
    this.#schedule();
    return null;
  }

  /** Everything that is left goes out now. */
  end(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#send(true);
  }

  #push(piece: Piece): void {
    this.#pieces.push(piece);
    this.#pendingBytes += piece.data.length;
  }

  #schedule(): void {
    if (this.#timer !== null) return;
    const waitMs = this.#sentMs + GATHER_MS - this.#options.monotonicMs();
    if (waitMs <= 0 && this.#refill() > 0) this.#send(false);
    if (this.#pieces.length === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#send(false);
      if (this.#pieces.length > 0) this.#schedule();
    }, GATHER_MS).unref();
  }

  #refill(): number {
    const nowMs = this.#options.monotonicMs();
    this.#tokens = Math.min(BURST_BYTES, this.#tokens + ((nowMs - this.#lastMs) / 1000) * BYTES_PER_SECOND);
    this.#lastMs = nowMs;
    return this.#tokens;
  }

  #send(isLast: boolean): void {
    this.#refill();
    const waiting: Piece[] = [];
    for (const { stream, data } of joined(this.#pieces)) {
      for (let at = 0; at < data.length; at += CHUNK_BYTES_MAX) {
        const chunk = data.subarray(at, at + CHUNK_BYTES_MAX);
        if (this.#tokens > 0 || (isLast && stream === "pty")) this.#publish(stream, chunk);
        else if (stream === "pty") waiting.push({ stream, data: chunk });
        else this.#sequence += 1;
      }
    }
    this.#pieces = waiting;
    this.#pendingBytes = waiting.reduce((sum, { data }) => sum + data.length, 0);
    if (this.#pendingBytes >= CHUNK_BYTES_MAX) return;
    this.#drained?.resolve();
    this.#drained = null;
  }

  #publish(stream: OutputStream, data: Buffer): void {
    if (this.#sequence === 0) this.#onFirst();
    this.#tokens -= data.length;
    this.#sentMs = this.#options.monotonicMs();
    this.#options.publish({
      command_id: this.#commandId,
      host: this.#options.host,
      at_unix_ms: this.#options.now(),
      state: "running",
      output: { stream, sequence: this.#sequence++, data: data.toString("base64") },
    });
  }
}

/** Neighbours of one stream become one. */
const joined = (pieces: readonly Piece[]): Piece[] => {
  const runs: { stream: OutputStream; parts: Buffer[] }[] = [];
  for (const { stream, data } of pieces) {
    const last = runs.at(-1);
    if (last?.stream === stream) last.parts.push(data);
    else runs.push({ stream, parts: [data] });
  }
  return runs.map(({ stream, parts }) => ({ stream, data: Buffer.concat(parts) }));
};
