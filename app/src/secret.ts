import { readFile } from "node:fs/promises";
import { z } from "zod";

/** A secret never stands in the configuration itself: it names a file or an environment variable that holds it. */
export const Secret = z.union([
  z.strictObject({ file: z.string().min(1).max(4096) }),
  z.strictObject({ env: z.string().regex(/^[A-Z_][A-Z0-9_]*$/) }),
]);
export type Secret = z.infer<typeof Secret>;

/** Reads it; throws an Error that names the place and never the value. */
export const readSecret = async (
  secret: Secret,
  env: Readonly<Record<string, string | undefined>>,
): Promise<string> => {
  if ("env" in secret) {
    const value = env[secret.env];
    if (value === undefined || value === "") throw new Error(`the environment variable ${secret.env} is not set`);
    return value;
  }
  const value = (await readFile(secret.file, "utf8")).trim();
  if (value === "") throw new Error(`the secret file ${secret.file} is empty`);
  return value;
};
