import { z } from "zod";

/** What every search takes: `from_unix_ms` (default: an hour before the end) and `to_unix_ms` (default: now). */
export const TimeRange = {
  from_unix_ms: z.coerce.number().int().min(0).optional().describe("default: an hour before the end"),
  to_unix_ms: z.coerce.number().int().min(0).optional().describe("default: now; exclusive"),
};

const HOUR_MS = 3_600_000;

export const timeRange = (
  query: { readonly from_unix_ms?: number | undefined; readonly to_unix_ms?: number | undefined },
  { nowUnixMs, lengthMs = HOUR_MS }: { readonly nowUnixMs: number; readonly lengthMs?: number },
): { from_unix_ms: number; to_unix_ms: number } => {
  // The half-open range shall hold what happens in this very millisecond.
  const to = query.to_unix_ms ?? nowUnixMs + 1;
  return { from_unix_ms: query.from_unix_ms ?? Math.max(0, to - lengthMs), to_unix_ms: to };
};

/** `?label=state=used&label=mountpoint=/`: each may come more than once. */
export const LabelFilters = z
  .union([z.string(), z.array(z.string())])
  .optional()
  .describe("name=value; repeat for more");

export const labelFilters = (filters: z.infer<typeof LabelFilters>): Record<string, string> =>
  Object.fromEntries(
    [filters ?? []].flat().map((filter) => {
      const at = filter.indexOf("=");
      return at < 0 ? [filter, ""] : [filter.slice(0, at), filter.slice(at + 1)];
    }),
  );

/** `?group_by=host.name,state` */
export const commaList = (text: string): string[] => text.split(",").filter((part) => part !== "");
