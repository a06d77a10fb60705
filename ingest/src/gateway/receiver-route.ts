import type { Submission } from "./intake.ts";

/** A request as a receiver sees it: authenticated, decompressed, and within its caps. */
export interface IntakeRequest {
  readonly body: Buffer;
  /** In lower case, without parameters; "" when there is none. */
  readonly contentType: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly sender: string;
  readonly nowUnixMs: number;
}

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | string;
}

/** One path of a protocol. */
export interface ReceiverRoute {
  readonly method: "POST" | "PUT" | "GET" | "HEAD";
  /** As Fastify has it: `/loki/api/v1/push`, `/:index/_bulk`. */
  readonly path: string;
  /** The receiver's name in counts and reports: `otlp`, `loki`. */
  readonly receiver: string;
  /**
   * Decodes ALL of the body first, then appends to the submission: what was appended goes to the bus even if this throws.
   * Its answer is sent once the bus has what was appended.
   * @throws RequestError for a body that it does not take.
   */
  handle(request: IntakeRequest, submission: Submission): Answer;
  /** How a refusal is spelt in this protocol: 400, 401, 408, 413, 415, 429, 500, 503. */
  refusal(status: number, message: string, request: { readonly contentType: string }): Answer;
}

/** A body that a receiver does not take: `status` and a message that says what and where. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly status: number;
  constructor(status: number, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.status = status;
  }
}
