import { hash } from "node:crypto";

const BLOCK_BYTES = 64;
const DIGEST_BYTES = 32;

/** RFC 2104 out of two digests, for a key of at most a block, in base64url: an Hmac object costs twice as much as both of them. */
export const hmacSha256 = (key: Uint8Array): ((label: string, value: Uint8Array) => string) => {
  const inner = Buffer.alloc(BLOCK_BYTES, 0x36);
  const outer = Buffer.alloc(BLOCK_BYTES + DIGEST_BYTES, 0x5c);
  for (const [at, byte] of key.entries()) {
    inner[at] = byte ^ 0x36;
    outer[at] = byte ^ 0x5c;
  }
  return (label, value) => {
    const labelBytes = Buffer.byteLength(label);
    const text = Buffer.allocUnsafe(BLOCK_BYTES + labelBytes + value.length);
    text.set(inner);
    text.write(label, BLOCK_BYTES);
    text.set(value, BLOCK_BYTES + labelBytes);
    outer.write(hash("sha256", text, "hex"), BLOCK_BYTES, "hex");
    return hash("sha256", outer, "base64url");
  };
};
