import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

/** What lives where under `data_dir`. Everything is readable by its owner only. */
export interface DataDir {
  readonly root: string;
  readonly bus: string;
  readonly store: string;
  readonly agent: string;
  /** The authority's key and certificate, artefacts, the anchor of the audit log. */
  readonly control: string;
  /** Recorded shell sessions. */
  readonly transcripts: string;
  readonly log: string;
  /** Where this process tells others of its address: `{ pid, url, started_at_unix_ms }`. */
  readonly runFile: string;
  /** Where this process tells other commands of the same user how to reach its embedded store. */
  readonly storeFile: string;
  /** The control plane's Ed25519 key: commands are signed with it, agents trust its public half. */
  readonly signingKey: KeyObject;
  readonly verifyKey: KeyObject;
  /** The bearer token for the API's decisions. */
  readonly apiToken: string;
}

/** Written beside, then renamed: a crash leaves the old file or the new one, never half of one. */
export const writeFileAtomically = (path: string, text: string): void => {
  writeFileSync(`${path}.new`, text, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
};

const readOrMake = (path: string, make: () => string): string => {
  if (!existsSync(path)) writeFileAtomically(path, make());
  return readFileSync(path, "utf8");
};

export const openDataDir = (path: string): DataDir => {
  const root = resolve(path);
  const folder = (name: string): string => {
    const folderPath = join(root, name);
    mkdirSync(folderPath, { recursive: true, mode: 0o700 });
    return folderPath;
  };
  const secrets = folder("secrets");
  const signingKey = createPrivateKey(
    readOrMake(join(secrets, "command-signing-key.pem"), () =>
      generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    ),
  );
  const verifyKey = createPublicKey(signingKey);
  // For agents on other machines: `trust.command_keys` there names a copy of this file.
  writeFileAtomically(join(root, "command-key.pub.pem"), verifyKey.export({ type: "spki", format: "pem" }).toString());
  return {
    root,
    bus: folder("bus"),
    store: folder("store"),
    agent: folder("agent"),
    control: folder("control"),
    transcripts: folder("transcripts"),
    log: join(folder("log"), "homeostat.log"),
    runFile: join(root, "platform.json"),
    storeFile: join(secrets, "store.json"),
    signingKey,
    verifyKey,
    apiToken: readOrMake(join(secrets, "api-token"), () => randomBytes(32).toString("base64url")).trim(),
  };
};
