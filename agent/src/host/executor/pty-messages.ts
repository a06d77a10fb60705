import { z } from "zod";

/** What an agent tells the process that holds a pty, over Node's IPC channel. The pty's output comes back on its stdout, as it is. */
export const ToPty = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("open"),
    command: z.array(z.string()).min(1),
    cwd: z.string(),
    env: z.record(z.string(), z.string()),
    columns: z.int(),
    rows: z.int(),
    term: z.string(),
    /** Becomes this user, with the groups that the user has, before anything of the session begins; null: stays who it is. */
    user: z.strictObject({ uid: z.int(), gid: z.int(), groups: z.array(z.int()) }).nullable(),
  }),
  z.strictObject({ type: z.literal("input"), data: z.base64() }),
  z.strictObject({ type: z.literal("resize"), columns: z.int(), rows: z.int() }),
]);
export type ToPty = z.infer<typeof ToPty>;

export const FromPty = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("opened"), pid: z.int() }),
  z.strictObject({ type: z.literal("exited"), code: z.int(), signal: z.int() }),
  z.strictObject({ type: z.literal("failed"), message: z.string() }),
]);
export type FromPty = z.infer<typeof FromPty>;
