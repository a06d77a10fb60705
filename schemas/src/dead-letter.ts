import { z } from "zod";
import { UnixMs } from "./unix-ms.ts";

/** Headers of a message on a `<topic>.dlq`: its value is the refused message's value, byte for byte. */
export const DeadLetterHeaders = z.strictObject({
  source_topic: z.string().min(1).max(249),
  source_partition: z.coerce.number().int().min(0),
  source_offset: z.coerce.number().int().min(0),
  reason: z.string().min(1).max(64),
  detail: z.string().max(1000),
  at_unix_ms: z.coerce.number().pipe(UnixMs),
});
export type DeadLetterHeaders = z.infer<typeof DeadLetterHeaders>;
