import { createHmac } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { hmacSha256 } from "./hmac-sha256.ts";

test("it is HMAC-SHA256 for any key of at most a block, again and again", () => {
  const bytes = (maxLength: number) => fc.uint8Array({ maxLength });
  fc.assert(
    fc.property(bytes(64), fc.string({ unit: "binary" }), bytes(300), (key, label, value) => {
      const expected = createHmac("sha256", key).update(label).update(value).digest("base64url");
      const mac = hmacSha256(key);
      expect(mac(label, value)).toBe(expected);
      expect(mac(label, value)).toBe(expected);
    }),
  );
});
