import { z } from "zod";

/** A column that holds a whole record as JSON text, as the record. */
export const jsonRecord = <Schema extends z.ZodType>(schema: Schema) =>
  z
    .string()
    .transform((text, context): unknown => {
      try {
        return JSON.parse(text);
      } catch (error) {
        context.addIssue({ code: "custom", message: `not JSON: ${String(error)}` });
        return z.NEVER;
      }
    })
    .pipe(schema);
