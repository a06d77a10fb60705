import { BATCH_HEADER_BYTES, batchParts } from "../channel/batch-body.ts";
import type { Connection } from "../channel/connection.ts";
import { CHUNK_BYTES_MAX, FRAME, FRAME_BYTES_MAX, jsonBody, STATUS, u32 } from "../channel/frame.ts";
import type { Wheel } from "../channel/wheel.ts";
import { LinkError, type OutgoingBatch } from "./link.ts";

/** What an agent may be waiting for at a time. */
const WAITING_MAX = 64;
/** The bus may be slow: longer than it takes to make a batch durable on a bad day. */
const ANSWER_MS_MAX = 40_000;
/** Type, request. */
const OVERHEAD_BYTES = 5;

interface Waiting {
  readonly type: number;
  periodsLeft: number;
  resolve(answer: Buffer): void;
  reject(error: LinkError): void;
}

/** Questions to the site server that it answers one by one: batches for the bus, ranges of artefacts. */
export class ChannelRequests {
  readonly #waiting = new Map<number, Waiting>();
  readonly #wheel: Wheel;
  #request = 0;

  constructor(wheel: Wheel) {
    this.#wheel = wheel;
  }

  /** In as many frames as it takes, the one after the other: their order is kept. */
  async publish(connection: Connection | null, batches: readonly OutgoingBatch[]): Promise<void> {
    for (const group of groups(batches))
      await this.#ask(connection, FRAME.batchesAck, (request, on) =>
        on.send(FRAME.batches, u32(request), ...batchParts(group)),
      );
  }

  fetch(connection: Connection | null, range: { sha256: string; offset: number; length: number }): Promise<Buffer> {
    if (range.length > CHUNK_BYTES_MAX)
      return Promise.reject(new LinkError("refused", `a range of ${range.length} bytes: at most ${CHUNK_BYTES_MAX}`));
    return this.#ask(connection, FRAME.chunk, (request, on) => on.send(FRAME.fetch, jsonBody({ request, ...range })));
  }

  /** u32 request, u8 status, the bytes or the reason. What nobody waits for any more is dropped. */
  answer(type: number, body: Buffer): void {
    const request = body.length >= OVERHEAD_BYTES ? body.readUInt32BE(0) : -1;
    const waiting = this.#waiting.get(request);
    if (waiting === undefined || waiting.type !== type) return;
    this.#waiting.delete(request);
    const status = body[4];
    const rest = Buffer.from(body.subarray(OVERHEAD_BYTES));
    if (status === STATUS.taken) waiting.resolve(rest);
    else {
      const text = rest.toString("utf8", 0, 500);
      const isRefused = status === STATUS.refused;
      waiting.reject(new LinkError(isRefused ? "refused" : "unreachable", `the site server says: ${text}`));
    }
  }

  failAll(reason: string): void {
    for (const { reject } of this.#waiting.values())
      reject(new LinkError("unreachable", `the channel broke: ${reason}`));
    this.#waiting.clear();
  }

  onPulse(): void {
    for (const [request, waiting] of this.#waiting) {
      if (waiting.periodsLeft-- > 0) continue;
      this.#waiting.delete(request);
      waiting.reject(new LinkError("unreachable", "the site server does not answer"));
    }
  }

  #ask(
    connection: Connection | null,
    type: number,
    send: (request: number, connection: Connection) => void,
  ): Promise<Buffer> {
    if (connection === null) return Promise.reject(new LinkError("unreachable", "no server of the site is connected"));
    if (this.#waiting.size >= WAITING_MAX)
      return Promise.reject(new LinkError("unreachable", `${WAITING_MAX} questions wait for an answer already`));
    this.#request = (this.#request + 1) >>> 0;
    const request = this.#request;
    return new Promise((resolve, reject) => {
      this.#waiting.set(request, { type, periodsLeft: this.#wheel.periods(ANSWER_MS_MAX), resolve, reject });
      send(request, connection);
    });
  }
}

/** As many batches to a frame as it holds. @throws LinkError when one alone is too large */
const groups = (batches: readonly OutgoingBatch[]): OutgoingBatch[][] => {
  const made: OutgoingBatch[][] = [];
  let bytes = FRAME_BYTES_MAX;
  for (const batch of batches) {
    const more = BATCH_HEADER_BYTES + batch.value.length;
    if (OVERHEAD_BYTES + more > FRAME_BYTES_MAX)
      throw new LinkError("refused", `a batch of ${batch.value.length} bytes does not fit into a frame`);
    if (bytes + more > FRAME_BYTES_MAX) {
      made.push([]);
      bytes = OVERHEAD_BYTES;
    }
    bytes += more;
    made.at(-1)?.push(batch);
  }
  return made;
};
