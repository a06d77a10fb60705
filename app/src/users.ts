import { type ApiUser, Role } from "@homeostat/analytics";
import { z } from "zod";
import { readSecret, Secret } from "./secret.ts";

const USERS_MAX = 1_000;
/** Shorter tokens can be guessed. */
const TOKEN_CHARS_MIN = 16;
/** The name of whoever holds the data directory's own token. */
const RESERVED_NAME = "local-admin";

const User = z.strictObject({
  /** Stands in grants and in the audit log. */
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$/, "want a letter or digit, then letters, digits, dots, dashes, _ or @")
    .refine((name) => name !== RESERVED_NAME, {
      error: `${RESERVED_NAME} is who holds the data directory's own token`,
    }),
  roles: z.array(Role).min(1).max(Role.options.length),
  token: Secret,
});

/** Who may ask the API for what. None: only the data directory's own token may write, and reading is open to this machine. */
export const Users = z
  .array(User)
  .max(USERS_MAX)
  .superRefine((users, context) => {
    const names = users.map(({ name }) => name);
    names.forEach((name, index) => {
      if (names.indexOf(name) < index)
        context.addIssue({ code: "custom", path: [index, "name"], message: `${name} is the name of another user` });
    });
  })
  .default([]);
export type Users = z.infer<typeof Users>;

/** @throws Error for a token that cannot be read, is too short, or belongs to two users: then nobody could tell who asks. */
export const readUsers = async (
  users: Users,
  env: Readonly<Record<string, string | undefined>>,
): Promise<readonly ApiUser[]> => {
  const known = new Map<string, string>();
  const read: ApiUser[] = [];
  for (const { name, roles, token: secret } of users) {
    const token = await readSecret(secret, env);
    if (token.length < TOKEN_CHARS_MIN)
      throw new Error(`users: the token of ${name} has ${token.length} characters: want at least ${TOKEN_CHARS_MIN}`);
    const other = known.get(token);
    if (other !== undefined) throw new Error(`users: ${name} and ${other} have the same token`);
    known.set(token, name);
    read.push({ name, roles, token });
  }
  return read;
};
