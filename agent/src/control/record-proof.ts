import { createHmac, createSecretKey, timingSafeEqual } from "node:crypto";
import type { BusMessage, OutgoingMessage } from "@homeostat/schemas";
import { controlSecret } from "./identity/tokens.ts";

const HEADER = "proof";
const REVISION_HEADER = "revision";
const LABEL = "homeostat record v1\0";

/**
 * Shows that control itself wrote a record: whoever may write to the bus could otherwise put in a job with made-up approvals, which the next
 * leader would sign, or make a host of their own. HMAC-SHA256 (RFC 2104) over topic, key and value with a key that never leaves control's
 * data directory; tombstones have one too. With a revision it tells which of two records of a key is the older one (record-ages.ts).
 */
export interface RecordProof {
  prove(message: OutgoingMessage, revision?: number): OutgoingMessage;
  holds(message: BusMessage): boolean;
}

/** 0: it has none. Means something only of a record whose proof holds. */
export const revisionOf = ({ headers }: Pick<BusMessage, "headers">): number => {
  const revision = Number(headers[REVISION_HEADER] ?? 0);
  return Number.isSafeInteger(revision) && revision > 0 ? revision : 0;
};

/** `dir`: where the key of the tokens is, of which all controls have a copy. */
export const createRecordProof = (dir: string): RecordProof => {
  const derived = createHmac("sha256", controlSecret(dir)).update("homeostat record key v1").digest();
  const secret = createSecretKey(derived);
  derived.fill(0);
  const macOf = ({ topic, key: of, value, headers = {} }: OutgoingMessage | BusMessage): string => {
    const revision = headers[REVISION_HEADER];
    const said = revision === undefined ? [topic, of, value === null] : [topic, of, value === null, revision];
    const mac = createHmac("sha256", secret).update(`${LABEL}${JSON.stringify(said)}\0`);
    return (value === null ? mac : mac.update(value)).digest("base64url");
  };
  return {
    prove: (message, revision) => {
      const headers = { ...message.headers, ...(revision !== undefined && { [REVISION_HEADER]: String(revision) }) };
      return { ...message, headers: { ...headers, [HEADER]: macOf({ ...message, headers }) } };
    },
    holds: (message) => {
      const shown = Buffer.from(message.headers[HEADER] ?? "", "base64url");
      const expected = Buffer.from(macOf(message), "base64url");
      return shown.length === expected.length && timingSafeEqual(shown, expected);
    },
  };
};
