import { readFileSync } from "node:fs";
import { z } from "zod";
import { UsageError } from "./verb.ts";

/** What a file holds. @throws UsageError that names the file, when it is no JSON or does not fit; Error when it cannot be read */
export const readJsonFile = <T>(path: string, shape: z.ZodType<T>): T => {
  const text = readFileSync(path, "utf8");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const why = text.trim() === "" ? "it is empty" : cause instanceof Error ? cause.message : String(cause);
    throw new UsageError(`${path}: want JSON: ${why}`, { cause });
  }
  const parsed = shape.safeParse(value);
  if (!parsed.success) throw new UsageError(`${path}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
};
