import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import type { Log } from "@homeostat/schemas";
import { plainAddress } from "../../gateway/peer-address.ts";
import type { SenderOf } from "./networks.ts";
import type { SyslogIntake } from "./syslog-intake.ts";

/** Asked of the kernel, which may give less: room for a burst while we work. */
const RECEIVE_BUFFER_BYTES = 4 * 1_048_576;
/** Beside the number of datagrams: 64 KiB each would be much. */
const QUEUE_BYTES_MAX = 16 * 1_048_576;
const ROOM_RETRY_MS = 100;

interface Datagram {
  readonly bytes: Buffer;
  readonly sender: string;
  readonly peer: string;
}

export interface SyslogDatagramsOptions {
  readonly intake: SyslogIntake;
  readonly senderOf: SenderOf;
  readonly queueMax: number;
  readonly log: Log;
}

/** Syslog over UDP (RFC 5426): one message a datagram. */
export class SyslogDatagrams {
  readonly #options: SyslogDatagramsOptions;
  readonly #queue: Datagram[] = [];
  readonly #commits = new Set<Promise<void>>();
  #queuedBytes = 0;
  #socket: Socket | null = null;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: SyslogDatagramsOptions) {
    this.#options = options;
  }

  get port(): number | null {
    return this.#socket?.address().port ?? null;
  }

  async start({ host, port }: { host: string; port: number }): Promise<void> {
    const type = host.includes(":") ? "udp6" : "udp4";
    const socket = createSocket({ type, recvBufferSize: RECEIVE_BUFFER_BYTES });
    socket.on("message", (bytes, from) => this.#receive(bytes, from));
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind(port, host, resolve);
    });
    socket.on("error", (error) => this.#options.log.warn({ err: error }, "the syslog socket failed"));
    this.#socket = socket;
  }

  /** Takes what is queued, and resolves when the bus has it. */
  async stop(): Promise<void> {
    const socket = this.#socket;
    this.#socket = null;
    if (socket !== null) await new Promise<void>((resolve) => socket.close(resolve));
    while (this.#queue.length > 0) {
      this.#work();
      if (this.#queue.length > 0) await new Promise((resolve) => setTimeout(resolve, ROOM_RETRY_MS).unref());
    }
    clearTimeout(this.#timer);
    await Promise.all(this.#commits);
  }

  #receive(bytes: Buffer, { address }: RemoteInfo): void {
    const { senderOf, intake, queueMax } = this.#options;
    const peer = plainAddress(address);
    const sender = senderOf(peer);
    const isFull = this.#queue.length >= queueMax || this.#queuedBytes + bytes.length > QUEUE_BYTES_MAX;
    if (sender === null || isFull) {
      intake.lost({ sender: sender ?? "", peer }, sender === null ? "network_refused" : "udp_overflow");
      return;
    }
    this.#queue.push({ bytes, sender, peer });
    this.#queuedBytes += bytes.length;
    // Behind the datagrams that the kernel has ready, so that they are taken together.
    this.#timer ??= setTimeout(() => this.#work(), 0);
  }

  #work(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const senders = new Set(this.#queue.map(({ sender }) => sender));
    for (const sender of senders) this.#takeOf(sender);
    if (this.#queue.length > 0) this.#timer = setTimeout(() => this.#work(), ROOM_RETRY_MS);
  }

  #takeOf(sender: string): void {
    const { intake, log } = this.#options;
    const taken = this.#queue.filter((datagram) => datagram.sender === sender);
    const bytes = taken.reduce((sum, datagram) => sum + datagram.bytes.length, 0);
    const submission = intake.admit(sender, bytes);
    if (submission === null) return;
    const rest = this.#queue.filter((datagram) => datagram.sender !== sender);
    this.#queue.splice(0, this.#queue.length, ...rest);
    this.#queuedBytes -= bytes;
    for (const { bytes: message, peer } of taken) {
      const text = message.toString("utf8").replace(/[\r\n\0]+$/, "");
      if (text !== "") intake.append(submission, { text, isCut: false }, peer);
    }
    const commit = submission
      .commit()
      .catch((error) => log.warn({ sender, err: error }, "syslog datagrams were lost"))
      .finally(() => this.#commits.delete(commit));
    this.#commits.add(commit);
  }
}
