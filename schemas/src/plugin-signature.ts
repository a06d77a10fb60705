import { type KeyObject, sign, verify } from "node:crypto";
import { keyId } from "./grant-signature.ts";
import type { PluginManifest, PluginRelease } from "./plugin.ts";

/**
 * What a publisher signs. The artefact holds the manifest, so its digest covers that too: whoever installs it compares the manifest of the
 * release with the one inside. The first line keeps these signatures apart from all others.
 */
const signedText = (of: { name: string; version: string; sha256: string; sizeBytes: number }): Buffer =>
  Buffer.from(`homeostat plugin 1\n${of.name}\n${of.version}\n${of.sha256}\n${of.sizeBytes}\n`);

/** Ed25519 (RFC 8032). */
export const signRelease = (
  of: { manifest: PluginManifest; sha256: string; sizeBytes: number },
  privateKey: KeyObject,
): PluginRelease => {
  const { manifest, sha256, sizeBytes } = of;
  const text = signedText({ name: manifest.name, version: manifest.version, sha256, sizeBytes });
  return {
    manifest,
    sha256,
    size_bytes: sizeBytes,
    key_id: keyId(privateKey),
    signature: sign(null, text, privateKey).toString("base64"),
  };
};

/** Why this release is not to be trusted; null when one of the keys signed it. Fails closed: with no keys nothing is trusted. */
export const releaseDistrust = (release: PluginRelease, trustedKeys: readonly KeyObject[]): string | null => {
  if (release.signature === "") return "it is not signed";
  const key = trustedKeys.find((trusted) => keyId(trusted) === release.key_id);
  if (key === undefined) return `it is signed by an unknown publisher ${release.key_id}`;
  const { manifest, sha256, size_bytes: sizeBytes } = release;
  const text = signedText({ name: manifest.name, version: manifest.version, sha256, sizeBytes });
  return verify(null, text, key, Buffer.from(release.signature, "base64")) ? null : "the signature does not match";
};
