import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  X509Certificate,
} from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Bus, type Log, topics } from "@homeostat/schemas";
import { renewalBytes } from "../../agent/src/channel/enrolment.ts";
import { acceptHandshake, beginHandshake } from "../../agent/src/channel/sealed.ts";
import { serialOf } from "../../agent/src/channel/tls-identity.ts";
import { type Authority, createAuthority } from "../../agent/src/control/identity/authority.ts";
import { createIdentities, type Identities } from "../../agent/src/control/identity/identities.ts";
import type { TokenWish } from "../../agent/src/control/identity/tokens.ts";
import { EnrolError, type EnrolOptions, type Exchange, enrol } from "../../agent/src/host/enrol.ts";
import { openIdentityFiles, type StoredIdentity } from "../../agent/src/host/identity-files.ts";
import { createEmbeddedBus } from "../../app/src/embedded/bus/index.ts";

const ignore = () => undefined;
export const quiet: Log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
export const command = generateKeyPairSync("ed25519");

/** Control's identities over a real bus, and hosts that enrol there. */
export class IdentityControl {
  readonly root: string;
  readonly audited: { readonly who: string; readonly what: string; readonly subject: string }[] = [];
  now = Date.UTC(2026, 5, 1);
  bus: Bus;
  authority: Authority;
  identities: Identities;
  readonly #started: Identities[] = [];
  #ids = 0;

  private constructor(root: string, made: { bus: Bus; authority: Authority }) {
    this.root = root;
    this.bus = made.bus;
    this.authority = made.authority;
    this.identities = this.#made({});
  }

  static async open(): Promise<IdentityControl> {
    const root = mkdtempSync(join(tmpdir(), "identity-"));
    const now = () => opened?.now ?? Date.UTC(2026, 5, 1);
    let opened: IdentityControl | null = null;
    const bus = await createEmbeddedBus({ dir: join(root, "bus"), topics: topics(), now, log: quiet });
    const authority = await createAuthority({ dir: join(root, "secrets"), now });
    opened = new IdentityControl(root, { bus, authority });
    await opened.identities.start();
    return opened;
  }

  async close(): Promise<void> {
    for (const each of this.#started) await each.stop();
    await this.bus.stop();
    rmSync(this.root, { recursive: true, force: true });
  }

  /** One more control on the same bus; the same again after a restart, unless it has other secrets. */
  async control(
    over: { readonly dir?: string; readonly authority?: Authority; readonly bus?: Bus } = {},
  ): Promise<Identities> {
    const made = this.#made(over);
    await made.start();
    return made;
  }

  #made({
    dir = join(this.root, "secrets"),
    authority = this.authority,
    bus = this.bus,
  }: {
    dir?: string;
    authority?: Authority;
    bus?: Bus;
  }): Identities {
    const made = createIdentities({
      bus,
      authority,
      dir,
      commandKeys: [command.privateKey],
      servers: (site) => [`${site}.example:7443`],
      audit: async (who, what, subject) => {
        this.audited.push({ who, what, subject });
      },
      now: () => this.now,
      log: quiet,
      newId: () => `id-${this.#ids++}`,
    });
    this.#started.push(made);
    return made;
  }

  /** As it would come through a site server. */
  readonly straight: Exchange = async (request) => overTheWire(await this.identities.enrol(overTheWire(request)));

  async tokenFor(wish: Partial<TokenWish> = {}): Promise<string> {
    const made = await this.identities.createToken({ for: "agent", site: "eu-1", ...wish }, "ada");
    if ("refused" in made) throw new Error(made.message);
    return made.text;
  }

  filesOf(name: string) {
    return openIdentityFiles(join(this.root, "hosts", name));
  }

  async enrolHost(host: string, over: Partial<EnrolOptions> = {}): Promise<StoredIdentity> {
    const token = over.token ?? (await this.tokenFor());
    return enrol({ kind: "agent", host, files: this.filesOf(host), exchange: this.straight, ...over, token });
  }

  /** Whether control lets it in, or why not. */
  connects(host: StoredIdentity, identities: Identities = this.identities): string {
    const privateKey = createPrivateKey(host.private_key);
    const { hello } = beginHandshake({ host: host.host, certificatePem: host.certificate, privateKey }, this.now);
    const accepted = acceptHandshake(hello, {
      signingKey: command.privateKey,
      authorities: [this.authority.certificatePem],
      now: this.now,
      mayConnect: (name, serial) => identities.mayConnect(name, serial),
    });
    return "refused" in accepted ? accepted.refused : "accepted";
  }
}

const overTheWire = <T>(value: T): unknown => JSON.parse(JSON.stringify(value));

/** Why it was refused, or "enrolled". */
export const outcome = async (attempt: Promise<unknown>): Promise<string> => {
  try {
    await attempt;
    return "enrolled";
  } catch (thrown) {
    if (thrown instanceof EnrolError) return thrown.code;
    throw thrown;
  }
};

export const serialIn = ({ certificate }: StoredIdentity): string => serialOf(new X509Certificate(certificate));

/** What an agent asks with in its session. */
export const renewalOf = (host: string, key?: KeyObject): [spki: string, signature: string] => {
  const privateKey = key ?? generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  const spki = createPublicKey(privateKey).export({ type: "spki", format: "pem" }).toString();
  return [spki, sign("sha256", renewalBytes(host, spki), privateKey).toString("base64")];
};
