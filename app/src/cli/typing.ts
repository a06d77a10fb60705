import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { type ApiClient, ApiError } from "./client.ts";

/** Of one request; a longer paste goes out in several. */
const CHUNK_BYTES_MAX = 32_768;
/** Typed and not sent yet; beyond this keys are dropped, as a terminal drops them whose line is full. */
const WAITING_BYTES_MAX = 1_048_576;
const RETRY_MS = 200;
const RETRIES_MAX = 150;
/** Refusals that end by themselves. */
const PASSING: ReadonlySet<string> = new Set(["not_begun", "behind"]);
const Taken = z.object({ next_sequence: z.number() });

export interface Typing {
  type(data: Buffer): void;
  resize(columns: number, rows: number): void;
  /** Rejects when keys cannot be delivered any more. */
  readonly failed: Promise<never>;
}

/**
 * Keys on their way to a session: one request at a time, each with its number, so that whatever is sent again is neither typed twice nor out
 * of order.
 */
export const typing = (
  api: Pick<ApiClient, "post">,
  sessionId: string,
  { signal, retryMs = RETRY_MS }: { readonly signal: AbortSignal; readonly retryMs?: number },
): Typing => {
  const path = `/api/v1/shell/${encodeURIComponent(sessionId)}`;
  const failing = Promise.withResolvers<never>();
  failing.promise.catch(() => undefined);
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  let size: { columns: number; rows: number } | null = null;
  let inputSequence = 0;
  let resizeSequence = 0;
  let isSending = false;

  const post = (what: string, body: object): Promise<void> =>
    untilTaken(() => api.post(`${path}/${what}`, body, Taken, { signal }), { signal, retryMs });
  const next = (): Buffer => {
    const all = Buffer.concat(waiting);
    const chunk = all.subarray(0, CHUNK_BYTES_MAX);
    waiting = chunk.length < all.length ? [all.subarray(CHUNK_BYTES_MAX)] : [];
    waitingBytes -= chunk.length;
    return chunk;
  };
  const send = async (): Promise<void> => {
    isSending = true;
    try {
      while (!signal.aborted && (size !== null || waiting.length > 0)) {
        if (size !== null) {
          const now = size;
          size = null;
          await post("resize", { sequence: resizeSequence, ...now });
          resizeSequence += 1;
        } else {
          await post("input", { sequence: inputSequence, data: next().toString("base64") });
          inputSequence += 1;
        }
      }
    } finally {
      isSending = false;
    }
  };
  const wake = (): void => {
    if (isSending) return;
    send().catch((error: unknown) => {
      if (!signal.aborted) failing.reject(error);
    });
  };
  return {
    type: (data) => {
      if (waitingBytes + data.length > WAITING_BYTES_MAX) return;
      waiting.push(data);
      waitingBytes += data.length;
      wake();
    },
    resize: (columns, rows) => {
      size = { columns, rows };
      wake();
    },
    failed: failing.promise,
  };
};

const untilTaken = async (
  post: () => Promise<unknown>,
  { signal, retryMs }: { readonly signal: AbortSignal; readonly retryMs: number },
): Promise<void> => {
  for (let attempt = 0; ; attempt += 1) {
    try {
      await post();
      return;
    } catch (error) {
      const passes = error instanceof ApiError && (error.status === null || PASSING.has(error.refusal));
      if (!passes || signal.aborted || attempt >= RETRIES_MAX) throw error;
    }
    await delay(retryMs, undefined, { signal });
  }
};
