import type { ConsumeOptions } from "@homeostat/schemas";

/** How much one `receive` gets, and how long it may be waited for. */
export interface FeedLimits {
  readonly maxMessages: number;
  readonly maxBytes: number;
  readonly minBytes: number;
  readonly maxWaitMs: number;
}

export const feedLimits = (options: ConsumeOptions): FeedLimits => ({
  maxMessages: options.maxMessages ?? 1_000,
  maxBytes: options.maxBytes ?? 4_194_304,
  minBytes: options.minBytes ?? 1,
  maxWaitMs: options.maxWaitMs ?? 0,
});
