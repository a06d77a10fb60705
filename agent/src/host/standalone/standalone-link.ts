import type { KeyObject } from "node:crypto";
import { join } from "node:path";
import type { Log } from "@homeostat/schemas";
import { dialTls } from "../../channel/tls-dial.ts";
import { createChannelClient } from "../channel-client.ts";
import { createChannelLink } from "../channel-link.ts";
import { exchangeThrough } from "../enrol-exchange.ts";
import {
  commandKeysOf,
  type IdentityFiles,
  openIdentityFiles,
  type StoredIdentity,
  tlsIdentityOf,
} from "../identity-files.ts";
import type { Link } from "../link.ts";
import { createRenewal } from "../renewal.ts";
import type { StandaloneConfig } from "./standalone-config.ts";

export interface StandaloneChannel {
  readonly link: Link;
  readonly trustedKeys: readonly KeyObject[];
  readonly host: string;
  readonly site: string;
  readonly clockSkewMs: number | null;
  /** Commands can come and results can go. */
  readonly isSealed: boolean;
  /** How it stands, in words. */
  readonly state: string;
  /** Since the start. */
  readonly reconnects: number;
  problems(): readonly string[];
  fetch(sha256: string, offset: number, length: number): Promise<Uint8Array>;
  start(): void;
  stop(): Promise<void>;
}

export class NotEnrolledError extends Error {
  override readonly name = "NotEnrolledError";
}

export const identityFolder = (dir: string): string => join(dir, "identity");

/** @throws NotEnrolledError; Error for an identity that is damaged or open to others */
export const connectStandalone = (options: {
  config: StandaloneConfig;
  version: string;
  now: () => number;
  random: () => number;
  log: Log;
}): StandaloneChannel => {
  const { config, version, now, random, log } = options;
  const files = openIdentityFiles(identityFolder(config.dir));
  const stored = readIdentity(files, config.dir);
  const tls = currentTls(stored);
  const servers = serversOf(config, stored);
  const client = createChannelClient({
    host: stored.host,
    agentVersion: version,
    identity: () => tls.identity,
    site: stored.site,
    trustedKeys: () => tls.commandKeys,
    servers,
    now,
    random,
    log,
  });
  const renewal = createRenewal({
    identity: stored,
    files,
    askInSession: (request) => client.send({ type: "renew", ...request }),
    exchange: exchangeThrough(() => servers, now),
    now: () => now() - (client.clockSkewMs ?? 0),
    after: (ms, run) => {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
    random,
    onRenewed: (identity) => tls.take(identity),
    log,
  });
  client.onMessage((message) => {
    if (message.type === "certificate") renewal.certificate(message.pem);
  });
  return {
    link: createChannelLink({ client, log }),
    trustedKeys: tls.commandKeys,
    host: stored.host,
    site: stored.site,
    get clockSkewMs() {
      return client.clockSkewMs;
    },
    get isSealed() {
      return client.state === "sealed";
    },
    get state() {
      return client.problem === null ? client.state : `${client.state}: ${client.problem}`;
    },
    get reconnects() {
      return Math.max(0, client.stats().connects - 1);
    },
    problems: () => [client.problem, renewal.stats().problem].filter((problem) => problem !== null),
    fetch: (sha256, offset, length) => client.fetch(sha256, offset, length),
    start: () => {
      client.start();
      renewal.start();
    },
    stop: async () => {
      renewal.stop();
      await client.stop();
    },
  };
};

/** Shows our certificate to one of the servers and looks at theirs, and leaves again without a word. @throws Error for all that failed */
export const reachServer = async (config: StandaloneConfig): Promise<void> => {
  const stored = readIdentity(openIdentityFiles(identityFolder(config.dir)), config.dir);
  const failures: string[] = [];
  for (const server of serversOf(config, stored)) {
    try {
      const identity = tlsIdentityOf(stored);
      const { socket } = await dialTls({
        server,
        identity,
        expected: { kind: "site", site: stored.site },
        now: Date.now,
      });
      socket.destroy();
      return;
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error));
    }
  }
  throw new Error(`no server can be reached: ${failures.join("; ").slice(0, 500)}`);
};

const readIdentity = (files: IdentityFiles, dir: string): StoredIdentity => {
  const stored = files.read();
  if (stored === null)
    throw new NotEnrolledError(`this host is not enrolled in ${dir}: run "homeostat-agent enroll" first`);
  return stored;
};

const serversOf = (config: StandaloneConfig, stored: StoredIdentity): readonly string[] =>
  config.servers.length > 0 ? config.servers : stored.servers;

/** What connects next shows the newest certificate. */
const currentTls = (stored: StoredIdentity) => {
  let identity = tlsIdentityOf(stored);
  const commandKeys = commandKeysOf(stored);
  return {
    get identity() {
      return identity;
    },
    commandKeys,
    take: (renewed: StoredIdentity) => {
      identity = tlsIdentityOf(renewed);
    },
  };
};
