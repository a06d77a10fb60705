import { generateKeyPairSync, type KeyObject, randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Control, ControlConfig, createControl, type Identities } from "@homeostat/agent/control";
import { enrol, type IdentityFiles, type StoredIdentity } from "@homeostat/agent/testing";
import { createEmbeddedBus } from "@homeostat/app";
import { type Log, topics } from "@homeostat/schemas";
import { Violation } from "./world.ts";

const LEAD_MS_MAX = 30_000;
const TOKEN_MS = 86_400_000;
const TOKEN_USES = 10_000;

/** A control plane with its bus, and an agent that is enrolled at it. */
export interface AgentSide {
  readonly dir: string;
  readonly control: Control;
  readonly identities: Identities;
  readonly authorityPem: string;
  readonly signingKey: KeyObject;
  readonly commandKey: KeyObject;
  readonly token: string;
  /** The agent's identity, and the request that it enrolled by. */
  readonly identity: StoredIdentity;
  readonly request: unknown;
  /** @throws Violation when something that no input may bring about was logged. */
  check(): void;
  stop(): Promise<void>;
}

export const HOST = "web-1";
export const SITE = "fuzz";

/** In memory, with one key. */
export const filesInMemory = (onWrite: (identity: StoredIdentity) => void): IdentityFiles => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { read: () => null, write: onWrite, nextKey: () => privateKey };
};

export const startAgentSide = async (): Promise<AgentSide> => {
  const dir = mkdtempSync(join(tmpdir(), "homeostat-fuzz-"));
  const defects: string[] = [];
  const quiet = () => undefined;
  const log: Log = {
    debug: quiet,
    info: quiet,
    warn: quiet,
    error: (fields, message) => void defects.push(`${message} ${JSON.stringify(fields)}`),
  };
  const bus = await createEmbeddedBus({ dir: join(dir, "bus"), topics: topics(), now: Date.now, log });
  const { privateKey: signingKey, publicKey: commandKey } = generateKeyPairSync("ed25519");
  const config = ControlConfig.parse({});
  const control = createControl({ bus, config, dataDir: dir, signingKey, now: Date.now, log, newId: randomUUID });
  await control.start();
  await control.leads(AbortSignal.timeout(LEAD_MS_MAX));
  const { authority, identities } = control;
  if (authority === null || identities === null) throw new Error("control does not lead");
  const token = await identities.createToken(
    { for: "agent", site: SITE, uses: TOKEN_USES, ttl_ms: TOKEN_MS },
    "the fuzz",
  );
  if ("refused" in token) throw new Error(token.message);
  let request: unknown;
  const identity = await enrol({
    token: token.text,
    kind: "agent",
    host: HOST,
    files: filesInMemory(quiet),
    exchange: (asked) => {
      request = asked;
      return identities.enrol(asked);
    },
  });
  return {
    dir,
    control,
    identities,
    authorityPem: identity.authority,
    signingKey,
    commandKey,
    token: token.text,
    identity,
    request,
    check: () => {
      const [first] = defects.splice(0);
      if (first !== undefined) throw new Violation(first);
    },
    stop: async () => {
      await control.stop();
      await bus.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
};
