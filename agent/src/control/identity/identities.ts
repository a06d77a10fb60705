import { createPublicKey, type KeyObject } from "node:crypto";
import { type AgentIdentity, type Bus, type EnrolmentToken, identityKey, type Log } from "@homeostat/schemas";
import {
  type Enrolled,
  type EnrolRefused,
  type EnrolReply,
  EnrolRequest,
  replyMac,
  sha256OfSpki,
  tokenText,
} from "../../channel/enrolment.ts";
import type { Authority, Issued } from "./authority.ts";
import {
  type Change,
  certificateFor,
  isForgotten,
  laterThan,
  quarantined,
  readmitted,
  revoked,
  withCertificate,
  withoutCertificates,
} from "./identity-change.ts";
import { IdentityStore, type IdentityWrite, writeOf } from "./identity-store.ts";
import { type Decided, IdentityTurns, type IdentityView } from "./identity-turns.ts";
import {
  checkEnrolment,
  checkRenewal,
  checkSessionRenewal,
  isRefused,
  malformed,
  refuse,
  whyNoChange,
  whyNotConnected,
  whyNotRenewed,
} from "./request-checks.ts";
import { createTokenSecrets, newToken, TokenWish } from "./tokens.ts";

/** Appends to the audit log; rejects when it could not. */
export type AuditPort = (
  who: string,
  what: string,
  subject: string,
  details: Readonly<Record<string, string | number | boolean | null>>,
) => Promise<void>;

/** For the sites. Complete, sorted. */
export interface RevokedList {
  /** Agents that may not connect. */
  readonly hosts: readonly string[];
  /** Certificates that do not count, in hex, lower case. */
  readonly serials: readonly string[];
}

export interface IdentitiesStatus {
  readonly identities: number;
  readonly tokens: number;
  /** Requests turned away, by reason, since the start. */
  readonly refused: Readonly<Record<string, number>>;
  /** Records on the topic that could not be read. */
  readonly unreadable: number;
}

export interface Identities {
  /** Resolves when what the topic held is known. */
  start(): Promise<void>;
  stop(): Promise<void>;
  get(host: string): AgentIdentity | null;
  agents(): readonly AgentIdentity[];
  siteServers(): readonly AgentIdentity[];
  tokens(): readonly EnrolmentToken[];
  status(): IdentitiesStatus;
  /** `text` is shown once and kept nowhere. */
  createToken(
    wish: TokenWish,
    by: string,
  ): Promise<{ readonly text: string; readonly token: EnrolmentToken } | EnrolRefused>;
  withdrawToken(id: string, by: string): Promise<EnrolmentToken | EnrolRefused>;
  /** From whoever: enrolment by token, or renewal by certificate. Asked again with the same key, it answers the same. */
  enrol(request: unknown): Promise<EnrolReply>;
  /** From an agent's sealed session. */
  renew(host: string, spki: string, signature: string): Promise<{ readonly pem: string } | EnrolRefused>;
  revoke(host: string, by: string, reason: string): Promise<AgentIdentity | EnrolRefused>;
  quarantine(host: string, by: string, reason: string): Promise<AgentIdentity | EnrolRefused>;
  readmit(host: string, by: string, reason: string): Promise<AgentIdentity | EnrolRefused>;
  revokeSiteServer(
    server: { readonly site: string; readonly name: string },
    by: string,
    reason: string,
  ): Promise<AgentIdentity | EnrolRefused>;
  readmitSiteServer(
    server: { readonly site: string; readonly name: string },
    by: string,
    reason: string,
  ): Promise<AgentIdentity | EnrolRefused>;
  /** Why not, or null. */
  mayConnect(host: string, serial: string): string | null;
  /** As `mayConnect`, for a site server's uplink. */
  mayServe(site: string, server: string, serial: string): string | null;
  /** Whether it may be sent commands: not while quarantined, revoked or unknown. */
  mayCommand(host: string): boolean;
  /** The same object while nothing in it changes. */
  revokedList(): RevokedList;
  /** After each change of an identity, own or another's: sessions may have to end, sites to be told. Returns the undo. */
  onChange(listener: (identity: AgentIdentity) => void): () => void;
  /** Takes away tokens that have expired and hosts that cannot come back. Returns how many; to be called now and then. */
  sweep(): Promise<number>;
}

export interface IdentityPorts {
  readonly bus: Bus;
  readonly authority: Authority;
  /** Under control's data directory: holds the key that the secrets of tokens follow from. */
  readonly dir: string;
  /** What agents are to trust for commands; public halves. */
  readonly commandKeys: readonly KeyObject[];
  /** `host:port` of the servers that a new host of this site is told. */
  servers(site: string): readonly string[];
  readonly audit: AuditPort;
  readonly now: () => number;
  readonly log: Log;
  readonly newId: () => string;
}

/** Beyond it no host is enrolled: about 1 KB each is held in memory. */
const IDENTITIES_MAX = 200_000;
const TOKENS_MAX = 10_000;
const SWEPT_MAX = 1_000;
/** What has expired is left out of the list so much later. */
const LISTED_MS = 10 * 60_000;
const KEY_SHOWN_MAX = 128;

const agentKey = (host: string): string => identityKey({ kind: "agent", site: "", host });

class BusIdentities implements Identities {
  readonly #ports: IdentityPorts;
  readonly #store: IdentityStore;
  readonly #turns: IdentityTurns;
  readonly #secretOf: (id: string) => Buffer;
  readonly #commandKeys: readonly string[];
  readonly #listeners = new Set<(identity: AgentIdentity) => void>();
  readonly #refused = new Map<string, number>();
  #listed: { readonly list: RevokedList; readonly untilUnixMs: number } | null = null;

  constructor(ports: IdentityPorts) {
    this.#ports = ports;
    this.#secretOf = createTokenSecrets(ports.dir);
    this.#commandKeys = ports.commandKeys.map((key) =>
      (key.type === "private" ? createPublicKey(key) : key).export({ type: "spki", format: "pem" }).toString(),
    );
    this.#store = new IdentityStore(ports, (identity) => {
      const isListed = this.#listed?.list.hosts.includes(identity.host) === true;
      if (isListed || identity.state === "revoked" || identity.withdrawn.length > 0) this.#listed = null;
      for (const listener of this.#listeners) listener(identity);
    });
    this.#turns = new IdentityTurns(this.#store, ports.log);
  }

  start(): Promise<void> {
    return this.#store.start();
  }

  async stop(): Promise<void> {
    await this.#turns.idle();
    await this.#store.stop();
  }

  get(host: string): AgentIdentity | null {
    return this.#store.identity(agentKey(host)) ?? null;
  }

  agents(): readonly AgentIdentity[] {
    return [...this.#store.identities()].filter(({ kind }) => kind === "agent");
  }

  siteServers(): readonly AgentIdentity[] {
    return [...this.#store.identities()].filter(({ kind }) => kind === "site");
  }

  tokens(): readonly EnrolmentToken[] {
    return [...this.#store.tokens()];
  }

  status(): IdentitiesStatus {
    return { ...this.#store.size, refused: Object.fromEntries(this.#refused), unreadable: this.#store.unreadable };
  }

  onChange(listener: (identity: AgentIdentity) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async createToken(
    wish: TokenWish,
    by: string,
  ): Promise<{ readonly text: string; readonly token: EnrolmentToken } | EnrolRefused> {
    const parsed = TokenWish.safeParse(wish);
    if (!parsed.success) return this.#refuse(malformed(parsed.error.issues));
    return this.#inTurn(async (view) => {
      const fault = whyNoChange({ by, reason: "" });
      if (fault !== null) return fault;
      if (view.size.tokens >= TOKENS_MAX) return refuse("too_many", `there are ${TOKENS_MAX} tokens already`);
      const token = newToken(parsed.data, { by, nowUnixMs: this.#ports.now() });
      const { id, host, site, again, uses_max, expires_at_unix_ms } = token;
      const details = { for: token.for, site, host, again, uses_max, expires_at_unix_ms };
      const text = tokenText({ id, secret: this.#secretOf(id), authoritySha256: this.#ports.authority.spkiSha256 });
      return {
        outcome: { text, token },
        writes: [writeOf(token)],
        audit: () => this.#ports.audit(by, "token.created", id, details),
      };
    });
  }

  async withdrawToken(id: string, by: string): Promise<EnrolmentToken | EnrolRefused> {
    return this.#inTurn(async (view) => {
      const token = view.token(id);
      if (token === undefined) return refuse("unknown_token", `there is no token ${JSON.stringify(id.slice(0, 32))}`);
      return {
        outcome: token,
        writes: [{ key: writeOf(token).key, record: null }],
        audit: () => this.#ports.audit(by, "token.withdrawn", id, {}),
      };
    });
  }

  async enrol(request: unknown): Promise<EnrolReply> {
    const parsed = EnrolRequest.safeParse(request);
    if (!parsed.success) return this.#refuse(malformed(parsed.error.issues));
    return parsed.data.type === "enrol" ? this.#enrolByToken(parsed.data) : this.#renewByCertificate(parsed.data);
  }

  async #enrolByToken(request: Extract<EnrolRequest, { type: "enrol" }>): Promise<EnrolReply> {
    const id = request.token_id;
    const token = this.#store.token(id);
    if (token === undefined) return this.#refuse(refuse("unknown_token", `there is no token ${id}`));
    const secret = this.#secretOf(id);
    const key = checkEnrolment(request, { token, secret, nowUnixMs: this.#ports.now() });
    if (isRefused(key)) return this.#refuse(key);
    return this.#inTurn(async (view) => {
      const admitted = this.#admit(request, { view, tokenId: id, spkiSha256: sha256OfSpki(key) });
      if (isRefused(admitted)) return admitted;
      const { identity, writes } = admitted;
      const { issued, after } = await this.#issue(identity, { key, names: request.names });
      const reply = this.#replyFor(after, issued);
      const details = { site: after.site, serial: issued.serial, repeated: writes.length === 0 };
      return {
        outcome: { ...reply, mac: replyMac(reply, { secret, request: request.mac }) },
        writes: [...writes, writeOf(after)],
        audit: () => this.#ports.audit(`token ${id}`, `${after.kind}.enrolled`, after.host, details),
      };
    });
  }

  /** The identity that the token makes, and what has to be written for it beside; or why not. */
  #admit(
    { host }: Extract<EnrolRequest, { type: "enrol" }>,
    { view, tokenId, spkiSha256 }: { view: IdentityView; tokenId: string; spkiSha256: string },
  ): { readonly identity: AgentIdentity; readonly writes: readonly IdentityWrite[] } | EnrolRefused {
    const now = this.#ports.now();
    // Read again: others were at it while this one waited.
    const token = view.token(tokenId);
    if (token === undefined) return refuse("unknown_token", `there is no token ${tokenId}`);
    const fresh: AgentIdentity = {
      kind: token.for,
      host,
      site: token.site,
      state: "active",
      certificates: [],
      withdrawn: [],
      token_id: tokenId,
      enrolled_at_unix_ms: now,
      changed_at_unix_ms: now,
      changed_by: `token ${tokenId}`,
      reason: "enrolled",
    };
    const before = view.identity(identityKey(fresh));
    if (before?.state === "revoked") return refuse("revoked", `${host} is revoked: it has to be readmitted first`);
    const isRepeated = before?.token_id === tokenId && certificateFor(before, spkiSha256, now) !== undefined;
    if (before !== undefined && isRepeated) return { identity: before, writes: [] };
    if (token.uses >= token.uses_max) return refuse("token_spent", `token ${tokenId} has been used up`);
    if (before !== undefined && before.certificates.length > 0 && !token.again)
      return refuse("host_taken", `${host} is enrolled already; a token with "again" for this host may replace it`);
    if (before === undefined && view.size.identities >= IDENTITIES_MAX)
      return refuse("too_many", `there are ${IDENTITIES_MAX} identities already`);
    // Enrolled again it loses its certificates, and keeps its quarantine.
    const identity =
      before === undefined
        ? fresh
        : laterThan(before, { ...fresh, state: before.state, withdrawn: withoutCertificates(before, now).withdrawn });
    return { identity, writes: [writeOf({ ...token, uses: token.uses + 1 })] };
  }

  async #renewByCertificate(request: Extract<EnrolRequest, { type: "renew" }>): Promise<EnrolReply> {
    const checked = checkRenewal(request, this.#ports.authority.certificatePem);
    if (isRefused(checked)) return this.#refuse(checked);
    const { role, key, serial } = checked;
    const identityName = role.kind === "agent" ? agentKey(role.name) : `/site/${role.site}/${role.name}`;
    const renewed = await this.#renew(identityName, { name: role.name, serial, key, names: request.names });
    if (isRefused(renewed)) return renewed;
    return { ...this.#replyFor(renewed.after, renewed.issued), mac: "" };
  }

  async renew(host: string, spki: string, signature: string): Promise<{ readonly pem: string } | EnrolRefused> {
    const key = checkSessionRenewal(host, spki, signature);
    if (isRefused(key)) return this.#refuse(key);
    const renewed = await this.#renew(agentKey(host), { name: host, serial: null, key, names: [] });
    return isRefused(renewed) ? renewed : { pem: renewed.issued.pem };
  }

  #renew(
    identityName: string,
    asked: {
      readonly name: string;
      readonly serial: string | null;
      readonly key: KeyObject;
      readonly names: readonly string[];
    },
  ): Promise<{ readonly after: AgentIdentity; readonly issued: Issued } | EnrolRefused> {
    return this.#inTurn(async (view) => {
      const identity = view.identity(identityName);
      const fault = whyNotRenewed(identity, { ...asked, nowUnixMs: this.#ports.now() });
      if (fault !== null || identity === undefined)
        return fault ?? refuse("not_enrolled", `${asked.name} is not enrolled`);
      const renewed = await this.#issue(identity, asked);
      return { outcome: renewed, writes: renewed.after === identity ? [] : [writeOf(renewed.after)] };
    });
  }

  /** A certificate for the key, and the identity that counts it: the same identity when the key had it already. */
  async #issue(
    identity: AgentIdentity,
    { key, names }: { readonly key: KeyObject; readonly names: readonly string[] },
  ): Promise<{ readonly issued: Issued; readonly after: AgentIdentity }> {
    const spkiSha256 = sha256OfSpki(key);
    const now = this.#ports.now();
    const again = certificateFor(identity, spkiSha256, now);
    const { kind, site, host: name } = identity;
    const spki = key.export({ type: "spki", format: "pem" }).toString();
    const request = { kind, site, name, spki, names };
    const issued = await this.#ports.authority.issue(again === undefined ? request : { ...request, again });
    if (again !== undefined) return { issued, after: identity };
    const { serial, not_before_unix_ms, not_after_unix_ms } = issued;
    const certificate = { serial, not_before_unix_ms, not_after_unix_ms, spki_sha256: spkiSha256 };
    return { issued, after: withCertificate(identity, certificate, now) };
  }

  #replyFor({ host, site }: AgentIdentity, { pem }: Issued): Omit<Enrolled, "mac"> {
    return {
      type: "enrolled",
      host,
      site,
      certificate: pem,
      authority: this.#ports.authority.certificatePem,
      command_keys: [...this.#commandKeys],
      servers: [...this.#ports.servers(site)],
    };
  }

  revoke(host: string, by: string, reason: string): Promise<AgentIdentity | EnrolRefused> {
    return this.#change(
      agentKey(host),
      { by, reason },
      { what: "revoked", from: ["active", "quarantined"], to: revoked },
    );
  }

  quarantine(host: string, by: string, reason: string): Promise<AgentIdentity | EnrolRefused> {
    return this.#change(agentKey(host), { by, reason }, { what: "quarantined", from: ["active"], to: quarantined });
  }

  readmit(host: string, by: string, reason: string): Promise<AgentIdentity | EnrolRefused> {
    return this.#change(
      agentKey(host),
      { by, reason },
      { what: "readmitted", from: ["quarantined", "revoked"], to: readmitted },
    );
  }

  revokeSiteServer(
    { site, name }: { site: string; name: string },
    by: string,
    reason: string,
  ): Promise<AgentIdentity | EnrolRefused> {
    const key = identityKey({ kind: "site", site, host: name });
    return this.#change(key, { by, reason }, { what: "revoked", from: ["active"], to: revoked });
  }

  readmitSiteServer(
    { site, name }: { site: string; name: string },
    by: string,
    reason: string,
  ): Promise<AgentIdentity | EnrolRefused> {
    const key = identityKey({ kind: "site", site, host: name });
    return this.#change(key, { by, reason }, { what: "readmitted", from: ["revoked"], to: readmitted });
  }

  #change(
    key: string,
    asked: { readonly by: string; readonly reason: string },
    step: {
      readonly what: string;
      readonly from: readonly AgentIdentity["state"][];
      readonly to: (identity: AgentIdentity, change: Change) => AgentIdentity;
    },
  ): Promise<AgentIdentity | EnrolRefused> {
    return this.#inTurn(async (view) => {
      const fault = whyNoChange(asked);
      if (fault !== null) return fault;
      const identity = view.identity(key);
      if (identity === undefined) return refuse("not_enrolled", this.#whyUnknown(key));
      if (!step.from.includes(identity.state))
        return refuse("wrong_state", `${identity.host} is ${identity.state}: it cannot be ${step.what}`);
      const after = laterThan(identity, step.to(identity, { ...asked, nowUnixMs: this.#ports.now() }));
      const details = { site: after.site, reason: asked.reason };
      return {
        outcome: after,
        writes: [writeOf(after)],
        audit: () => this.#ports.audit(asked.by, `${after.kind}.${step.what}`, after.host, details),
      };
    });
  }

  /** Who has taken a site server for an agent is told which. */
  #whyUnknown(key: string): string {
    const sites = this.siteServers().flatMap(({ host, site }) => (host === key ? [site] : []));
    const shown = JSON.stringify(key.replace(/^\/site\//, "site server ").slice(0, KEY_SHOWN_MAX));
    if (sites.length === 0) return `${shown} is not enrolled`;
    return `${shown} is not enrolled as a host; it is a site server of ${sites.join(", ")}: name its site`;
  }

  mayConnect(host: string, serial: string): string | null {
    return whyNotConnected(this.#store.identity(agentKey(host)), host, serial);
  }

  mayServe(site: string, server: string, serial: string): string | null {
    return whyNotConnected(this.#store.identity(identityKey({ kind: "site", site, host: server })), server, serial);
  }

  mayCommand(host: string): boolean {
    return this.get(host)?.state === "active";
  }

  revokedList(): RevokedList {
    const now = this.#ports.now();
    if (this.#listed !== null && now < this.#listed.untilUnixMs) return this.#listed.list;
    const hosts: string[] = [];
    const serials: string[] = [];
    for (const { kind, host, state, withdrawn } of this.#store.identities()) {
      if (state === "revoked" && kind === "agent") hosts.push(host);
      for (const { serial, not_after_unix_ms } of withdrawn) if (not_after_unix_ms > now) serials.push(serial);
    }
    const list = { hosts: hosts.sort(), serials: serials.sort() };
    this.#listed = { list, untilUnixMs: now + LISTED_MS };
    return list;
  }

  async sweep(): Promise<number> {
    const swept = await this.#inTurn(async (view) => {
      const now = this.#ports.now();
      const tokens = [...this.#store.tokens()].filter(({ expires_at_unix_ms }) => expires_at_unix_ms <= now);
      const gone = [...this.#store.identities()].filter((identity) => {
        // It may be coming back in this very turn.
        const found = view.identity(identityKey(identity));
        return found !== undefined && isForgotten(found, now);
      });
      const writes = [...tokens, ...gone]
        .slice(0, SWEPT_MAX)
        .map((record) => ({ key: writeOf(record).key, record: null }));
      return { outcome: { count: writes.length }, writes };
    });
    return isRefused(swept) ? 0 : swept.count;
  }

  async #inTurn<Outcome extends object>(
    decide: (view: IdentityView) => Promise<Decided<Outcome> | EnrolRefused>,
  ): Promise<Outcome | EnrolRefused> {
    const outcome = await this.#turns.take(decide);
    return isRefused(outcome) ? this.#refuse(outcome) : outcome;
  }

  #refuse(refusal: EnrolRefused): EnrolRefused {
    this.#refused.set(refusal.refused, (this.#refused.get(refusal.refused) ?? 0) + 1);
    this.#ports.log.debug({ reason: refusal.refused }, refusal.message);
    return refusal;
  }
}

export const createIdentities = (ports: IdentityPorts): Identities => new BusIdentities(ports);
