import { createHmac, createSecretKey, timingSafeEqual } from "node:crypto";
import type { BusMessage, OutgoingMessage } from "@homeostat/schemas";
import { controlSecret } from "./identity/tokens.ts";

const HEADER = "proof";
const LABEL = "homeostat record v1\0";

/**
 * Shows that control itself wrote a record: whoever may write to the bus could otherwise put in a job with made-up approvals, which the next
 * leader would sign, or make a host of their own. HMAC-SHA256 (RFC 2104) over topic, key and value with a key that never leaves control's
 * data directory; tombstones have one too. It does not tell how old a record is: whoever repeats an old one is found in other ways
 * (identity/barred.ts), or not (docs/SECURITY.md).
 */
export interface RecordProof {
  prove(message: OutgoingMessage): OutgoingMessage;
  holds(message: BusMessage): boolean;
}

/** `dir`: where the key of the tokens is, of which all controls have a copy. */
export const createRecordProof = (dir: string): RecordProof => {
  const key = createSecretKey(createHmac("sha256", controlSecret(dir)).update("homeostat record key v1").digest());
  const macOf = ({ topic, key: of, value }: Pick<BusMessage, "topic" | "key" | "value">): Buffer => {
    const mac = createHmac("sha256", key).update(`${LABEL}${JSON.stringify([topic, of, value === null])}\0`);
    return (value === null ? mac : mac.update(value)).digest();
  };
  return {
    prove: (message) => ({
      ...message,
      headers: { ...message.headers, [HEADER]: macOf(message).toString("base64url") },
    }),
    holds: (message) => {
      const shown = Buffer.from(message.headers[HEADER] ?? "", "base64url");
      const expected = macOf(message);
      return shown.length === expected.length && timingSafeEqual(shown, expected);
    },
  };
};
