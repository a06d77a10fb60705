import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Duplex, duplexPair } from "node:stream";
import type { TopicBatch } from "../channel/batch-body.ts";
import { FromAgent, type ToAgent } from "../channel/messages.ts";
import { acceptHandshake, SealError, type SealedSession } from "../channel/sealed.ts";
import type { TlsIdentity } from "../channel/tls-identity.ts";
import { Wheel } from "../channel/wheel.ts";
import { type Authority, createAuthority } from "../control/identity/authority.ts";
import { createUplinks, type RawSession, type Uplinks } from "../control/uplinks.ts";
import { type ChannelClient, type ChannelClientOptions, createChannelClient } from "../host/channel-client.ts";
import { quietLog } from "../host/quiet-log.fixture.ts";
import { createSiteServer, type SiteServer, type SiteServerOptions } from "./site-server.ts";

export const SITE = "dc1";

/** Turned by hand: no test waits for a deadline. */
export const stillWheel = (): Wheel => {
  const wheel = new Wheel({ periodMs: 1_000, slots: 1 });
  wheel.start = () => undefined;
  return wheel;
};

/** Resolves as soon as it holds; looks at every turn of the event loop. The test's own time limit ends what never comes. */
export const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
};

interface Held {
  readonly raw: RawSession;
  sealed: SealedSession | null;
}

/** As much of a control plane as the channel needs: it accepts handshakes, and hears and says messages. */
export class ControlEnd {
  readonly authority: Authority;
  readonly keys = generateKeyPairSync("ed25519");
  readonly sessions = new Map<string, Held>();
  readonly heard: { host: string; message: FromAgent }[] = [];
  readonly broken: string[] = [];
  readonly artefacts = new Map<string, Buffer>();
  readonly revoked = { serials: [] as string[], hosts: [] as string[] };
  readonly barredServers = new Set<string>();
  fetches = 0;
  handshakes = 0;
  uplinks: Uplinks;

  constructor(authority: Authority) {
    this.authority = authority;
    this.uplinks = this.#open();
  }

  /** A control plane that begins anew: it knows nothing of the sessions of the one before. */
  async restart(): Promise<void> {
    await this.uplinks.stop();
    this.uplinks = this.#open();
  }

  #open(): Uplinks {
    return createUplinks({
      name: "control",
      now: Date.now,
      log: quietLog,
      wheel: stillWheel(),
      handlers: {
        onUp: (raw) => this.sessions.set(raw.id, { raw, sealed: null }),
        onDown: (raw) => this.sessions.delete(raw.id),
        onFrame: (raw, kind, bytes) => this.#onFrame(raw, kind, bytes),
        onEnrol: async (request, via) => ({ echo: request, via }),
        onFetch: async (sha256, offset, length) => {
          this.fetches += 1;
          const artefact = this.artefacts.get(sha256);
          if (artefact === undefined) throw new Error(`there is no artefact ${sha256}`);
          return artefact.subarray(offset, offset + length);
        },
        revoked: () => this.revoked,
        mayServe: (_site, server) => (this.barredServers.has(server) ? `${server} may not serve` : null),
      },
    });
  }

  of(host: string): Held | undefined {
    return [...this.sessions.values()].findLast(({ raw, sealed }) => raw.host === host && sealed !== null);
  }

  say(host: string, message: ToAgent | readonly unknown[]): boolean {
    const held = this.of(host);
    if (held?.sealed === null || held === undefined) return false;
    return held.raw.send("sealed", held.sealed.seal(Buffer.from(JSON.stringify(message))));
  }

  #onFrame(raw: RawSession, kind: "sealed" | "handshake", bytes: Buffer): void {
    const held = this.sessions.get(raw.id);
    if (held === undefined) return;
    if (kind === "handshake") this.#accept(held, bytes);
    else if (held.sealed !== null) this.#hear(held, held.sealed, bytes);
  }

  #accept(held: Held, hello: Buffer): void {
    const accepted = acceptHandshake(hello, {
      signingKey: this.keys.privateKey,
      authorities: [this.authority.certificatePem],
      now: Date.now(),
      mayConnect: () => null,
    });
    if ("refused" in accepted) {
      held.raw.close(accepted.refused);
      return;
    }
    this.handshakes += 1;
    held.sealed = accepted.session;
    held.raw.send("handshake", accepted.welcome);
  }

  #hear(held: Held, sealed: SealedSession, bytes: Buffer): void {
    let plain: Buffer;
    try {
      plain = sealed.open(bytes);
    } catch (error) {
      if (!(error instanceof SealError)) throw error;
      this.broken.push(held.raw.host);
      held.raw.close("the session is broken");
      return;
    }
    const message = FromAgent.parse(JSON.parse(plain.toString()));
    this.heard.push({ host: held.raw.host, message });
    if (message.type !== "clock") return;
    const { host } = held.raw;
    this.say(host, { type: "clock", asked_at_unix_ms: message.asked_at_unix_ms, control_unix_ms: Date.now() });
  }
}

/** A control plane, site servers and agents, with real certificates and TLS on the loopback. */
export class Fleet {
  readonly dir: string;
  readonly authority: Authority;
  readonly control: ControlEnd;
  readonly taken: { host: string; batches: readonly TopicBatch[] }[] = [];
  readonly wheel = stillWheel();
  readonly siteWheel = stillWheel();
  readonly #undo: (() => Promise<void>)[] = [];
  /** What control's end of an in-process uplink is given; null: control is out of reach. */
  isControlReachable = true;

  private constructor(dir: string, authority: Authority) {
    this.dir = dir;
    this.authority = authority;
    this.control = new ControlEnd(authority);
  }

  static async make(): Promise<Fleet> {
    const dir = mkdtempSync(join(tmpdir(), "homeostat-channel-"));
    return new Fleet(dir, await createAuthority({ dir, now: Date.now }));
  }

  async end(): Promise<void> {
    for (const undo of this.#undo.reverse()) await undo();
    await this.control.uplinks.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  onEnd(undo: () => Promise<void>): void {
    this.#undo.push(undo);
  }

  identity(kind: "agent" | "site" | "control", name: string, site = SITE): Promise<TlsIdentity> {
    return this.authority.identityFor({ kind, site: kind === "control" ? "" : site, name });
  }

  uplink(): Duplex {
    if (!this.isControlReachable) throw new Error("control is out of reach");
    const [ofSite, ofControl] = duplexPair();
    this.control.uplinks.attach(ofControl);
    return ofSite;
  }

  async server(name: string, options: Partial<SiteServerOptions> = {}): Promise<SiteServer> {
    const server = createSiteServer({
      site: SITE,
      server: name,
      listen: { host: "127.0.0.1", port: 0 },
      advertise: [],
      tls: await this.identity("site", name),
      uplink: () => this.uplink(),
      publish: async (host, batches) => {
        this.taken.push({ host, batches: batches.map(({ topic, value }) => ({ topic, value: Buffer.from(value) })) });
      },
      now: Date.now,
      log: quietLog,
      wheel: this.siteWheel,
      ...options,
    });
    await server.start();
    this.onEnd(() => server.stop());
    return server;
  }

  async client(
    host: string,
    servers: readonly string[],
    options: Partial<ChannelClientOptions> = {},
  ): Promise<ChannelClient> {
    const identity = await this.identity("agent", host);
    const client = createChannelClient({
      host,
      agentVersion: "0.0.0",
      identity: () => identity,
      site: SITE,
      trustedKeys: (): readonly KeyObject[] => [this.control.keys.publicKey],
      servers,
      now: Date.now,
      random: Math.random,
      log: quietLog,
      wheel: this.wheel,
      backOff: { minMs: 20, maxMs: 200 },
      ...options,
    });
    this.onEnd(() => client.stop());
    return client;
  }

  /** One that is sealed up to control. */
  async agent(host: string, servers: readonly string[], options: Partial<ChannelClientOptions> = {}) {
    const client = await this.client(host, servers, options);
    client.start();
    await until(() => client.state === "sealed");
    return client;
  }
}
