import { createHash, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { canonicalJson } from "./canonical-json.ts";
import { type Command, SignedCommand } from "./command.ts";

/** Names a key: the first 16 hex digits of SHA-256 over its SPKI form. */
export const keyId = (key: KeyObject): string => {
  const spki = (key.type === "private" ? createPublicKey(key) : key).export({ type: "spki", format: "der" });
  return createHash("sha256").update(spki).digest("hex").slice(0, 16);
};

export const signCommand = (command: Command, privateKey: KeyObject): SignedCommand => ({
  command,
  key_id: keyId(privateKey),
  signature: sign(null, Buffer.from(canonicalJson(command)), privateKey).toString("base64"),
});

/** The command when one of the trusted keys signed exactly it, or the reason for refusing it. Fails closed. */
export const verifyCommand = (
  value: unknown,
  trustedKeys: readonly KeyObject[],
): { readonly command: Command } | { readonly refused: string } => {
  const parsed = SignedCommand.safeParse(value);
  if (!parsed.success) return { refused: "malformed command" };
  const { command, key_id, signature } = parsed.data;
  const key = trustedKeys.find((trusted) => keyId(trusted) === key_id);
  if (key === undefined) return { refused: `signed by an unknown key ${key_id}` };
  const isGenuine = verify(null, Buffer.from(canonicalJson(command)), key, Buffer.from(signature, "base64"));
  return isGenuine ? { command } : { refused: "the signature does not match the command" };
};
