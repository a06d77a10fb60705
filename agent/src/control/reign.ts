import { createPublicKey, type KeyObject } from "node:crypto";
import { join } from "node:path";
import type { AssignedPartition } from "@homeostat/schemas";
import type { AuditLog } from "./audit/audit-log.ts";
import type { ControlOptions } from "./control.ts";
import { setFor } from "./control-config.ts";
import type { Authority } from "./identity/authority.ts";
import { whyNotDirectly } from "./identity/direct-enrolment.ts";
import { createIdentities, type Identities } from "./identity/identities.ts";
import { createPluginCatalog } from "./plugins/catalog.ts";
import type { PluginCatalog } from "./plugins/catalog-types.ts";
import { createRecordProof } from "./record-proof.ts";
import { Term } from "./term.ts";
import type { Timers } from "./timers.ts";
import { createUplinks, type UplinkHandlers, type Uplinks } from "./uplinks.ts";

const PLUGINS_TICK_MS = 5_000;
const SWEEP_MS = 600_000;
/** Of this control's own certificate, by its life: renewed long before it ends. */
const RENEW_SHARE = 1 / 2;

export interface ReignPlace {
  readonly authority: Authority;
  readonly audit: AuditLog;
  readonly lease: AssignedPartition;
  readonly signal: AbortSignal;
  readonly onDoubt: () => void;
}

const publicHalf = (key: KeyObject): KeyObject => (key.type === "private" ? createPublicKey(key) : key);

/** All that exists only while this control leads: identities, plugins, jobs and the ends of the uplinks; started in this order. */
export class Reign {
  readonly term: Term;
  readonly identities: Identities;
  readonly uplinks: Uplinks;
  readonly plugins: PluginCatalog;
  address: { readonly host: string; readonly port: number } | null = null;
  readonly #options: ControlOptions & { readonly timers: Timers };
  readonly #place: ReignPlace;
  /** Last first. */
  readonly #undo: (() => Promise<void> | void)[] = [];

  constructor(options: ControlOptions & { readonly timers: Timers }, place: ReignPlace) {
    this.#options = options;
    this.#place = place;
    const { bus, config, signingKey, dataDir, now, log, newId, timers } = options;
    const { authority, audit, lease, signal, onDoubt } = place;
    const secrets = join(dataDir, "authority");
    const trustedKeys = [signingKey, ...(options.trustedKeys ?? [])].map(publicHalf);
    const proof = createRecordProof(secrets);
    this.identities = createIdentities({
      bus,
      authority,
      dir: secrets,
      commandKeys: [publicHalf(signingKey)],
      servers: (site) => setFor(config.site_servers, site) ?? [],
      audit: (who, what, subject, details) => audit.append(who, what, subject, { ...details }),
      now,
      log,
      newId,
    });
    this.term = new Term(
      {
        bus,
        config,
        signingKey,
        trustedKeys,
        proof,
        authorities: [authority.certificatePem],
        identities: this.identities,
        audit,
        now,
        log,
        newId,
        timers,
        published: (executor) => this.plugins.riskOf(executor),
        onAgent: (host) => this.#tellDesired(host),
      },
      { lease, signal, onDoubt },
    );
    this.plugins = createPluginCatalog({
      bus,
      group: `control-plugins-${newId()}`,
      dataDir,
      trustedKeys: options.pluginKeys ?? [],
      proof,
      hosts: () => this.term.registry.pluginHosts(),
      now,
      log,
    });
    this.uplinks = createUplinks({ handlers: this.#handlers(), name: config.name, now, log });
    this.#undo.push(() => this.uplinks.stop());
  }

  async start(): Promise<void> {
    const { term, identities, uplinks, plugins } = this;
    this.#undo.push(() => term.stop());
    this.#undo.push(() => identities.stop());
    await identities.start();
    this.#undo.push(
      identities.onChange(({ host }) => {
        term.identityChanged(host);
        uplinks.tellRevoked();
      }),
    );
    // Before anything is heard of agents: who is told of no wishes removes what it has.
    this.#undo.push(() => plugins.stop());
    await plugins.start();
    await term.start();
    this.#undo.push(plugins.onDesiredChange(() => this.#tellAllDesired()));
    await this.#listen();
    term.resume();
    this.#tellAllDesired();
    this.#every(PLUGINS_TICK_MS, "roll-outs of plugins", () => plugins.tick(term.registry.pluginHosts()));
    this.#every(SWEEP_MS, "identities", async () => {
      await identities.sweep();
    });
  }

  /** Again and again, one after the other, until the reign ends. */
  #every(ms: number, what: string, work: () => Promise<void>): void {
    let cancel: () => void = () => undefined;
    let isOver = false;
    let running: Promise<void> = Promise.resolve();
    const later = (): void => {
      cancel = this.#options.timers.after(ms, () => {
        running = work()
          .catch((thrown: unknown) => this.term.fail(`${what} could not be tended`, thrown))
          .then(() => (isOver ? undefined : later()));
      });
    };
    later();
    this.#undo.push(() => {
      isOver = true;
      cancel();
      return running;
    });
  }

  #tellDesired(host: string): void {
    const agent = this.term.registry.view(host);
    if (agent === null) return;
    const desired = this.plugins.desiredFor(agent);
    const { beside } = this.#options;
    if (host === beside?.host) beside.desired(desired);
    else this.term.sessions.send(host, JSON.stringify({ type: "desired", desired }));
  }

  #tellAllDesired(): void {
    const { beside } = this.#options;
    for (const host of this.term.sessions.hosts()) this.#tellDesired(host);
    if (beside !== undefined) this.#tellDesired(beside.host);
  }

  async stop(): Promise<void> {
    for (const undo of this.#undo.splice(0).reverse()) {
      try {
        await undo();
      } catch (thrown) {
        this.#options.log.warn({ err: thrown }, "a part of the control plane did not stop well");
      }
    }
  }

  async #listen(): Promise<void> {
    const { listen, name } = this.#options.config;
    if (listen === null) return;
    const { authority } = this.#place;
    const identity = () => authority.identityFor({ kind: "control", site: "", name });
    const port = await this.uplinks.listen({ host: listen.host, port: listen.port, tls: await identity() });
    this.address = { host: listen.host, port };
    const renewLater = (): (() => void) =>
      this.#options.timers.after(authority.lifeMs * RENEW_SHARE, () => {
        identity().then(
          (tls) => this.uplinks.renew(tls),
          (thrown: unknown) => this.term.fail("control's own certificate could not be renewed", thrown),
        );
        cancel = renewLater();
      });
    let cancel = renewLater();
    this.#undo.push(() => cancel());
  }

  #handlers(): UplinkHandlers {
    const { term } = this;
    return {
      onUp: (session) => term.up(session),
      onDown: (session) => term.sessions.down(session),
      onFrame: (session, kind, bytes) => term.sessions.frame(session, kind, bytes),
      onDrain: (way) => term.drained(way),
      onEnrol: async (request, via) =>
        (via === null ? whyNotDirectly(request, this.identities.tokens()) : null) ?? this.identities.enrol(request),
      onFetch: (sha256, offset, length) => this.plugins.read(sha256, offset, length),
      revoked: () => this.identities.revokedList(),
      mayServe: (site, server, serial) => this.identities.mayServe(site, server, serial),
    };
  }
}
