/**
 * Why the store did not take an insert. `retryable`: the same insert, with the same token, may succeed later (the engine cannot be
 * reached, has too many parts, or is out of memory or disk); otherwise the engine refuses this very content, for ever.
 */
export class InsertError extends Error {
  override readonly name = "InsertError";
  readonly retryable: boolean;
  constructor(message: string, options: { retryable: boolean; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.retryable = options.retryable;
  }
}
