import { z } from "zod";
import { UnixMs } from "./unix-ms.ts";

/** What a person can run again to see what we saw: a named query of analytics, its parameters and its range. */
export const Evidence = z.strictObject({
  query: z.string().min(1).max(100),
  params: z.record(z.string().max(100), z.union([z.string().max(4096), z.number(), z.boolean()])),
  from_unix_ms: UnixMs,
  to_unix_ms: UnixMs,
  summary: z.string().max(1000),
});
export type Evidence = z.infer<typeof Evidence>;
