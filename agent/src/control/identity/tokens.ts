import { createHmac, randomBytes } from "node:crypto";
import { join } from "node:path";
import { type EnrolmentToken, IdentityName, SiteName, TOKEN_USES_MAX } from "@homeostat/schemas";
import { z } from "zod";
import { readOrMakeSecret } from "../../channel/secret-file.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const KEY_BYTES = 32;
const ID_BYTES = 8;

export const TokenWish = z
  .strictObject({
    for: z.enum(["agent", "site"]),
    site: SiteName,
    /** Only this host (or site server) may use it. */
    host: IdentityName.nullable().default(null),
    /** The host may be enrolled already; its certificates are withdrawn. */
    again: z.boolean().default(false),
    /** More than one for an image that many machines start from. */
    uses: z.int().min(1).max(TOKEN_USES_MAX).default(1),
    ttl_ms: z
      .int()
      .min(MINUTE_MS)
      .max(30 * 24 * HOUR_MS)
      .default(HOUR_MS),
  })
  .refine(({ again, host }) => !again || host !== null, {
    path: ["again"],
    error: "a token for a host that is enrolled already has to name it, lest it take over any",
  })
  .refine(({ uses, host }) => uses === 1 || host === null, {
    path: ["uses"],
    error: "a token that names its host is used once",
  });
export type TokenWish = z.input<typeof TokenWish>;

/**
 * The secret of a token follows from its id and one key that never leaves control's data directory. So nothing secret is on the bus,
 * where whoever may read could enrol with it, and no list of secrets has to be kept. A second control needs a copy of the key, as it
 * does of the authority's and the one that signs commands.
 */
export const createTokenSecrets = (dir: string): ((id: string) => Buffer) => {
  const key = controlSecret(dir);
  return (id) => createHmac("sha256", key).update(`homeostat token v1\0${id}`).digest();
};

/** Made at the first start. Other keys are derived from it, each under a label of its own. */
export const controlSecret = (dir: string): Buffer => {
  const text = readOrMakeSecret(join(dir, "enrolment-key"), () => randomBytes(KEY_BYTES).toString("base64url"));
  const key = Buffer.from(text, "base64url");
  if (key.byteLength !== KEY_BYTES) throw new Error(`${join(dir, "enrolment-key")} does not hold ${KEY_BYTES} bytes`);
  return key;
};

export const newToken = (
  wish: z.output<typeof TokenWish>,
  { by, nowUnixMs }: { readonly by: string; readonly nowUnixMs: number },
): EnrolmentToken => ({
  kind: "token",
  id: randomBytes(ID_BYTES).toString("hex"),
  for: wish.for,
  site: wish.site,
  host: wish.host,
  again: wish.again,
  uses_max: wish.uses,
  uses: 0,
  created_at_unix_ms: nowUnixMs,
  created_by: by,
  expires_at_unix_ms: nowUnixMs + wish.ttl_ms,
});
