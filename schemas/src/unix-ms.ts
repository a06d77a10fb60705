import { z } from "zod";

/** Milliseconds since 1970-01-01T00:00:00Z, whole. The year 2262 is where a 64-bit nanosecond clock ends. */
export const UnixMs = z.int().min(0).max(9_223_372_036_854);
export type UnixMs = z.infer<typeof UnixMs>;
