import { TELEMETRY, type TelemetrySchema } from "@homeostat/schemas";
import { z } from "zod";

/**
 * The note beside a committed offset: "the messages from this offset up to `end` are being inserted". Whoever finds it inserts
 * exactly that range again, with the same tokens. `split` names the tables whose insert was refused as a whole and goes on
 * message by message; such a table must never be tried as a whole again, or its rows would come twice.
 */
const Intent = z.strictObject({
  end: z.int().min(1),
  split: z
    .array(z.enum(Object.keys(TELEMETRY) as [TelemetrySchema, ...TelemetrySchema[]]))
    .max(Object.keys(TELEMETRY).length)
    .default([]),
});

export interface Intent {
  readonly start: number;
  readonly end: number;
  readonly split: readonly TelemetrySchema[];
}

export const writeIntent = ({ end, split }: Pick<Intent, "end" | "split">): string =>
  JSON.stringify(split.length === 0 ? { end } : { end, split });

/** null: nothing was under way. `unreadable`: somebody else's note, which cannot be redone. */
export const readIntent = (offset: number, metadata: string): Intent | null | "unreadable" => {
  if (metadata === "") return null;
  try {
    const parsed = Intent.safeParse(JSON.parse(metadata));
    if (!parsed.success || parsed.data.end <= offset) return "unreadable";
    return { start: offset, ...parsed.data };
  } catch {
    return "unreadable";
  }
};
