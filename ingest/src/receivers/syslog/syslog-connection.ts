import type { Socket } from "node:net";
import type { Log } from "@homeostat/schemas";
import type { Submission } from "../../gateway/intake.ts";
import { SyslogFrames } from "./syslog-frames.ts";
import type { SyslogIntake } from "./syslog-intake.ts";

/** What one connection may have read that the bus does not have yet; beyond it the socket waits, and so, in time, does its sender. */
const OUTSTANDING_BYTES_MAX = 1_048_576;
/** How soon a connection asks again when the gateway has no room. */
const ROOM_RETRY_MS = 100;

export interface SyslogConnectionOptions {
  readonly socket: Socket;
  readonly intake: SyslogIntake;
  readonly sender: string;
  readonly peer: string;
  readonly idleTimeoutMs: number;
  readonly log: Log;
}

/** One sender's TCP stream. Everything that was read from the socket is committed, also when it ends or the gateway stops. */
export class SyslogConnection {
  readonly #options: SyslogConnectionOptions;
  readonly #frames = new SyslogFrames();
  readonly #finished = Promise.withResolvers<void>();
  /** Chunks that were read while there was no room; as many as the socket had buffered. */
  readonly #waiting: Buffer[] = [];
  #outstandingBytes = 0;
  #isEnded = false;
  #isFlushed = false;
  #retry: NodeJS.Timeout | undefined;

  constructor(options: SyslogConnectionOptions) {
    this.#options = options;
    const { socket, idleTimeoutMs } = options;
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#end());
    socket.setTimeout(idleTimeoutMs, () => {
      // A socket that waits for the bus is not idle.
      if (this.#waiting.length === 0 && this.#outstandingBytes === 0) socket.destroy();
    });
  }

  /** Resolves when the connection has closed and the bus has what was read. */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  /** Takes what the socket has read already, and closes it. */
  stop(): Promise<void> {
    const { socket } = this.#options;
    socket.pause();
    // What is read here comes as `data`.
    while (socket.read() !== null);
    socket.destroy();
    return this.finished;
  }

  #take(chunk: Buffer): void {
    this.#waiting.push(chunk);
    this.#work();
  }

  #work(): void {
    for (;;) {
      const [chunk] = this.#waiting;
      if (chunk === undefined) break;
      const submission = this.#admit(chunk.length);
      if (submission === null) return;
      this.#waiting.shift();
      this.#frames.push(chunk, (frame) => this.#options.intake.append(submission, frame, this.#options.peer));
      this.#commit(submission, chunk.length);
    }
    this.#finish();
    this.#resume();
  }

  #admit(bytes: number): Submission | null {
    const { intake, sender, socket } = this.#options;
    const submission = intake.admit(sender, bytes);
    if (submission !== null) return submission;
    socket.pause();
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#work(), ROOM_RETRY_MS).unref();
    return null;
  }

  #commit(submission: Submission, bytes: number): void {
    this.#outstandingBytes += bytes;
    if (this.#outstandingBytes > OUTSTANDING_BYTES_MAX) this.#options.socket.pause();
    submission
      .commit()
      .catch((error) => {
        const { log, peer, socket } = this.#options;
        log.warn(
          { peer, err: error },
          "messages of a syslog connection were lost: closing it, so that its sender notices",
        );
        socket.destroy();
      })
      .finally(() => {
        this.#outstandingBytes -= bytes;
        this.#finish();
        this.#resume();
      });
  }

  #resume(): void {
    const isFree = this.#waiting.length === 0 && this.#outstandingBytes <= OUTSTANDING_BYTES_MAX;
    if (isFree && !this.#isEnded) this.#options.socket.resume();
  }

  #end(): void {
    this.#isEnded = true;
    this.#finish();
  }

  /** Once the socket has closed: the message without an end, then waiting for what is under way. */
  #finish(): void {
    if (!this.#isEnded || this.#waiting.length > 0) return;
    if (!this.#isFlushed) {
      const { intake, peer } = this.#options;
      const submission = this.#admit(this.#frames.heldBytes);
      if (submission === null) return;
      this.#isFlushed = true;
      this.#frames.end((frame) => intake.append(submission, frame, peer));
      this.#commit(submission, 0);
      return;
    }
    if (this.#outstandingBytes === 0) this.#finished.resolve();
  }
}
