import { z } from "zod";

/** Interactive sessions on this host. Off unless the host's own configuration turns them on. */
export const ShellConfig = z.strictObject({
  enabled: z.boolean().default(false),
  /** With its arguments; by default the user's login shell, as a login shell. */
  command: z
    .array(
      z
        .string()
        .max(4096)
        .regex(/^[^\0]*$/, "must not hold a NUL byte"),
    )
    .min(1)
    .max(64)
    .refine(([program = ""]) => program.startsWith("/"), { error: "the program must be an absolute path" })
    .optional(),
  /** As whom it runs; by default as the agent itself does. Another user needs an agent that runs as root. */
  user: z
    .string()
    .regex(/^[a-z_][a-z0-9_.-]{0,31}\$?$/i, "want the name of a user")
    .optional(),
  /** A session is ended after this, whatever its grant allows. */
  max_s: z.int().min(1).max(3_600).default(3_600),
  /** Without a key being typed for this long it is ended. */
  idle_s: z.int().min(1).max(3_600).default(900),
});
export type ShellConfig = z.infer<typeof ShellConfig>;
