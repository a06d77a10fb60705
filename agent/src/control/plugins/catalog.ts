import { createHash, type KeyObject } from "node:crypto";
import { join } from "node:path";
import {
  type Bus,
  type BusMessage,
  type Consumer,
  canonicalJson,
  type DesiredPlugin,
  type DesiredPlugins,
  type Log,
  MESSAGE_BYTES_MAX,
  PluginManifest,
  PluginName,
  PluginRelease,
  PluginWish,
  Risk,
  readCanonical,
  releaseDistrust,
  type TargetSelector,
} from "@homeostat/schemas";
import { z } from "zod";
import { COLLECTOR_NAMES, EXECUTOR_NAMES } from "../../host/config.ts";
import { misfits, strictSchema } from "../../host/plugins/args-schema.ts";
import { MANIFEST_BYTES_MAX } from "../../host/plugins/unpack.ts";
import { compareVersions } from "../../host/plugins/version-order.ts";
import { labelSelector } from "../labels.ts";
import { RecordAges } from "../record-ages.ts";
import type { RecordProof } from "../record-proof.ts";
import type { Refused } from "../views.ts";
import { Artefacts, bytesFlaw } from "./artefacts.ts";
import type { PluginCatalog, PluginHostView, WishRequest } from "./catalog-types.ts";
import { firstDifference } from "./release-difference.ts";
import { EVERYBODY, firstStep, nextStep, rolloutDigest } from "./rollout.ts";

const TOPIC = "agent.plugins";
/** Of all plugins and targets together. */
const WISHES_MAX = 1_000;
/** What one host is told of at most; 64 manifests with their configurations stay below a frame of the channel. */
const DESIRED_MAX = 64;
const CONFIG_BYTES_MAX = 4_096;
/** The version of what ships with the agent is whatever the agent has. */
const BUILTIN_VERSION = "0.0.0";
const BUILTIN_NAMES: ReadonlySet<string> = new Set([...COLLECTOR_NAMES, ...EXECUTOR_NAMES]);

export interface PluginCatalogOptions {
  readonly bus: Bus;
  /** Each that folds the wishes for itself has a group of its own. */
  readonly group: string;
  /** The platform's: artefacts are in `artefacts` below it. */
  readonly dataDir: string;
  /** Of publishers, as at the agents. */
  readonly trustedKeys: readonly KeyObject[];
  /** Wishes that no control has written do not count. */
  readonly proof: RecordProof;
  /** All that are known: whom the first step of a roll-out reaches. */
  readonly hosts: () => Iterable<PluginHostView>;
  readonly now: () => number;
  readonly log: Log;
}

const refused = (code: Refused["refused"], message: string): Refused => ({ refused: code, message });

export const createPluginCatalog = (options: PluginCatalogOptions): PluginCatalog => new FoldedWishes(options);

/** A wish, and what is worked out of it once. */
interface Held {
  readonly wish: PluginWish;
  readonly matches: (labels: Readonly<Record<string, string>>) => boolean;
  readonly hosts: ReadonlySet<string> | null;
}

class FoldedWishes implements PluginCatalog {
  readonly #options: PluginCatalogOptions;
  readonly #artefacts: Artefacts;
  readonly #wishes = new Map<string, Held>();
  readonly #listeners = new Set<() => void>();
  /** Versions that are being published: as many as requests, which hold their artefacts. */
  readonly #underWay = new Set<string>();
  readonly #ages = new RecordAges();
  #consumer: Consumer | null = null;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: PluginCatalogOptions) {
    this.#options = options;
    this.#artefacts = new Artefacts({ dir: join(options.dataDir, "artefacts"), log: options.log });
  }

  async start(): Promise<void> {
    const caughtUp = Promise.withResolvers<void>();
    let nextOffset = 0;
    this.#consumer = await this.#options.bus.consume({
      group: this.#options.group,
      topics: [TOPIC],
      open: async ({ earliestOffset, endOffset }) => {
        const startOffset = Math.max(earliestOffset, nextOffset);
        if (startOffset >= endOffset) caughtUp.resolve();
        return {
          startOffset,
          receive: async (messages) => {
            for (const message of messages) {
              this.#fold(message);
              nextOffset = message.offset + 1;
            }
            if (nextOffset >= endOffset) caughtUp.resolve();
          },
        };
      },
      onError: (error) => this.#options.log.error({ error: String(error) }, "cannot read the wishes for plugins"),
    });
    await caughtUp.promise;
  }

  async stop(): Promise<void> {
    await this.#consumer?.stop();
    this.#consumer = null;
  }

  async publish(artefact: Uint8Array, value: unknown): Promise<PluginRelease | Refused> {
    const parsed = PluginRelease.safeParse(value);
    if (!parsed.success) return refused("invalid", z.prettifyError(parsed.error).slice(0, 1_000));
    const release = parsed.data;
    const { name, version } = release.manifest;
    const distrust = releaseDistrust(release, this.#options.trustedKeys);
    if (distrust !== null) return refused("not_allowed", `${name} ${version}: ${distrust}`);
    const same = this.#release(name, version);
    if (same !== undefined) return againOf(same, release, artefact);
    if (this.#artefacts.isFull) return refused("over_limit", "the catalog is full");
    const which = `${name} ${version}`;
    // Of two at a time both would find that there is none yet.
    if (this.#underWay.has(which)) return refused("wrong_state", `${which} is being published right now: ask again`);
    this.#underWay.add(which);
    try {
      const flaw = schemaFlaw(release.manifest) ?? (await this.#artefacts.put(artefact, release));
      return flaw === null ? release : refused("invalid", `${which}: ${flaw}`);
    } finally {
      this.#underWay.delete(which);
    }
  }

  wish(request: WishRequest): Promise<PluginWish | Refused> {
    return this.#inTurn(() => this.#wish(request));
  }

  async #wish(request: WishRequest): Promise<PluginWish | Refused> {
    const release = this.#wishedRelease(request);
    if ("refused" in release) return release;
    const { targets, config = {}, pinned = false, enabled = true, by } = request;
    const parsed = PluginWish.safeParse({
      release,
      config,
      pinned,
      enabled,
      targets,
      wished_by: by,
      wished_at_unix_ms: this.#options.now(),
    });
    if (!parsed.success) return refused("invalid", z.prettifyError(parsed.error).slice(0, 1_000));
    const flaw = targetsFlaw(parsed.data.targets) ?? configFlaw(parsed.data);
    if (flaw !== null) return refused("invalid", flaw);
    const key = keyOf(release.manifest.name, parsed.data.targets);
    const before = this.#wishes.get(key)?.wish;
    if (before === undefined && this.#wishes.size >= WISHES_MAX) return refused("over_limit", `${WISHES_MAX} wishes`);
    const isBack =
      before !== undefined && !pinned && compareVersions(release.manifest.version, before.release.manifest.version) < 0;
    if (isBack)
      return refused(
        "invalid",
        `${release.manifest.version} is older than ${before.release.manifest.version}, which is wished now; pin it to go back`,
      );
    const wish = { ...parsed.data, rollout: this.#rolloutOf(parsed.data, before, request.atOnce ?? false) };
    return this.#put(key, wish);
  }

  unwish(name: string, targets: TargetSelector): Promise<PluginWish | Refused> {
    return this.#inTurn(() => this.#unwish(name, targets));
  }

  async #unwish(name: string, targets: TargetSelector): Promise<PluginWish | Refused> {
    const wrong = targetsFlaw(targets);
    if (wrong !== null) return refused("invalid", wrong);
    const key = keyOf(name, targets);
    const held = this.#wishes.get(key);
    if (held === undefined) return refused("not_found", `nobody wishes ${name} for these hosts`);
    const flaw = await this.#publish(key, null);
    if (flaw !== null) return flaw;
    this.#apply(key, null);
    return held.wish;
  }

  releases(): readonly PluginRelease[] {
    return this.#artefacts.releases();
  }

  riskOf(executor: string): Risk | null {
    const declared = this.releases()
      .flatMap(({ manifest }) => manifest.executors)
      .filter(({ name }) => name === executor);
    return Risk.options.findLast((risk) => declared.some((one) => one.risk === risk)) ?? null;
  }

  wishes(): readonly PluginWish[] {
    return [...this.#wishes.values()].map(({ wish }) => wish);
  }

  desiredFor(host: Pick<PluginHostView, "host" | "site" | "labels">): DesiredPlugins {
    const chosen = new Map<string, PluginWish>();
    let revision = 0;
    for (const held of this.#wishes.values()) {
      const { wish } = held;
      revision = Math.max(revision, wish.wished_at_unix_ms, wish.rollout?.step_began_unix_ms ?? 0);
      if (!isFor(held, host)) continue;
      const { name } = wish.release.manifest;
      const other = chosen.get(name);
      if (other === undefined || isStronger(wish, other)) chosen.set(name, wish);
    }
    const desired = [...chosen.values()]
      .sort((a, b) => (isStronger(a, b) ? -1 : 1))
      .map((wish) => shareOf(wish, host.host));
    return { revision, plugins: desired.filter((plugin) => plugin !== null).slice(0, DESIRED_MAX) };
  }

  onDesiredChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async tick(hosts: Iterable<PluginHostView>): Promise<void> {
    const all = [...hosts];
    for (const key of [...this.#wishes.keys()]) await this.#inTurn(() => this.#step(key, all));
  }

  async #step(key: string, hosts: readonly PluginHostView[]): Promise<void> {
    const held = this.#wishes.get(key);
    if (held === undefined || held.wish.rollout === null) return;
    const { wish } = held;
    const selected = hosts.filter((host) => isFor(held, host));
    const rollout = nextStep(wish, held.wish.rollout, { hosts: selected, nowUnixMs: this.#options.now() });
    if (rollout === wish.rollout) return;
    if (rollout !== null && rollout.halted !== "")
      this.#options.log.error({ plugin: wish.release.manifest.name, why: rollout.halted }, "a roll-out is halted");
    await this.#put(key, { ...wish, rollout });
  }

  /** One after the other: a step of a roll-out that was worked out while its wish was being taken back would bring it back. */
  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const changed = this.#turn.then(change);
    this.#turn = changed.catch(() => undefined);
    return changed;
  }

  read(sha256: string, offset: number, length: number): Promise<Buffer> {
    return this.#artefacts.read(sha256, offset, length);
  }

  #release(name: string, version: string): PluginRelease | undefined {
    return this.releases().find(({ manifest }) => manifest.name === name && manifest.version === version);
  }

  #wishedRelease({ name, version }: WishRequest): PluginRelease | Refused {
    if (!PluginName.safeParse(name).success)
      return refused("invalid", `not the name of a plugin: ${name.slice(0, 64)}`);
    if (version !== null)
      return this.#release(name, version) ?? refused("not_found", `${name} ${version} has not been published`);
    if (!BUILTIN_NAMES.has(name)) {
      const published = this.releases().flatMap(({ manifest }) => (manifest.name === name ? [manifest.version] : []));
      const which = published.length === 0 ? "none is published" : `published: ${published.join(", ")}`;
      return refused("invalid", `${name} does not ship with the agent: say which version (${which})`);
    }
    const manifest = PluginManifest.parse({ name, version: BUILTIN_VERSION, kind: "static", run: "builtin" });
    return { manifest, sha256: "", size_bytes: 0, key_id: "", signature: "" };
  }

  /** Steps for what everybody is to have, unless everybody has that release already. */
  #rolloutOf(wish: PluginWish, before: PluginWish | undefined, atOnce: boolean): PluginWish["rollout"] {
    if (wish.targets.labels !== "*" || wish.release.sha256 === "" || atOnce) return null;
    const isSame = before?.release.sha256 === wish.release.sha256 && before.rollout === null;
    if (isSame && canonicalJson(before.config) === canonicalJson(wish.config)) return null;
    const held = holdOf(wish);
    const hosts = [...this.#options.hosts()].filter((host) => isFor(held, host)).map(({ host }) => host);
    const previous = before === undefined ? null : (before.rollout?.previous ?? desiredOf(before));
    return firstStep(previous, { plugin: wish.release.manifest.name, hosts, nowUnixMs: this.#options.now() });
  }

  async #put(key: string, wish: PluginWish): Promise<PluginWish | Refused> {
    const value = Buffer.from(JSON.stringify(wish));
    if (value.length > MESSAGE_BYTES_MAX)
      return refused("invalid", `targets.hosts: a wish of more than ${MESSAGE_BYTES_MAX} bytes; select by labels`);
    const flaw = await this.#publish(key, value);
    if (flaw !== null) return flaw;
    this.#apply(key, wish);
    return wish;
  }

  async #publish(key: string, value: Uint8Array | null): Promise<Refused | null> {
    try {
      const message = { topic: TOPIC, key, value };
      const { bus, proof } = this.#options;
      await bus.publish([proof.prove(message, this.#ages.next())]);
      return null;
    } catch (error) {
      return refused(
        "unavailable",
        `the bus did not take it: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }

  #fold(message: BusMessage): void {
    const { key, value, offset } = message;
    const { proof, log } = this.#options;
    if (key === null) return;
    if (!proof.holds(message)) {
      log.error({ key, offset }, "a wish for a plugin that no control has written does not count");
      return;
    }
    if (!this.#ages.admit(message)) {
      log.warn({ key, offset }, "a wish for a plugin from before lies there again: it does not count");
      return;
    }
    const parsed = PluginWish.nullable().safeParse(value === null ? null : jsonOf(value));
    const wish = parsed.success ? parsed.data : undefined;
    const isOfKey = wish === null || (wish !== undefined && key === keyOf(wish.release.manifest.name, wish.targets));
    if (wish !== undefined && isOfKey) this.#apply(key, wish);
    else this.#options.log.error({ key }, "a wish for a plugin cannot be read; it is left out");
  }

  /** Folding what is known already, such as the echo of what was published here, changes nothing. */
  #apply(key: string, wish: PluginWish | null): void {
    const before = this.#wishes.get(key)?.wish ?? null;
    if (canonicalJson(before) === canonicalJson(wish)) return;
    if (wish === null) this.#wishes.delete(key);
    else this.#wishes.set(key, holdOf(wish));
    for (const listener of this.#listeners) listener();
  }
}

/** What is published already may be published again, to the letter and to the byte. */
const againOf = (same: PluginRelease, release: PluginRelease, artefact: Uint8Array): PluginRelease | Refused => {
  const which = `${release.manifest.name} ${release.manifest.version}`;
  const flaw = bytesFlaw(artefact, release);
  if (flaw !== null) return refused("invalid", `${which}: ${flaw}`);
  const difference =
    same.sha256 === release.sha256 ? firstDifference(same, release) : "its artefact has other bytes than the one there";
  if (difference === null) return same;
  return refused("wrong_state", `${which} is published already, and this is not it: ${difference}; take a new version`);
};

const jsonOf = (value: Uint8Array): unknown => {
  try {
    return JSON.parse(Buffer.from(value).toString("utf8"));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
};

const keyOf = (name: string, targets: TargetSelector): string =>
  `${name}@${createHash("sha256").update(canonicalJson(targets)).digest("hex").slice(0, 16)}`;

const holdOf = (wish: PluginWish): Held => {
  const { hosts, labels } = wish.targets;
  const matches = labels === undefined ? () => true : labelSelector(labels);
  // An expression that cannot be read selects nobody.
  return {
    wish,
    matches: typeof matches === "function" ? matches : () => false,
    hosts: hosts === undefined ? null : new Set(hosts),
  };
};

const isFor = (
  { wish, matches, hosts }: Held,
  { host, site, labels }: Pick<PluginHostView, "host" | "site" | "labels">,
): boolean =>
  (hosts === null || hosts.has(host)) &&
  (wish.targets.site === undefined || wish.targets.site === site) &&
  matches(labels);

/** Names before sites and labels, those before everybody; of equals the newest. */
const rankOf = ({ hosts, labels, site }: TargetSelector): number =>
  hosts !== undefined ? 2 : site !== undefined || labels !== "*" ? 1 : 0;
const isStronger = (a: PluginWish, b: PluginWish): boolean => {
  const difference = rankOf(a.targets) - rankOf(b.targets);
  return difference === 0 ? a.wished_at_unix_ms > b.wished_at_unix_ms : difference > 0;
};

const desiredOf = ({ release, config, pinned, enabled, wished_at_unix_ms }: PluginWish): DesiredPlugin => ({
  release,
  config,
  pinned,
  enabled,
  wished_at_unix_ms,
});

/** What this host is to have of a wish that may be on its way. */
const shareOf = (wish: PluginWish, host: string): DesiredPlugin | null => {
  const { rollout } = wish;
  if (rollout === null || rollout.up_to_digest === EVERYBODY) return desiredOf(wish);
  const isReached = rolloutDigest(wish.release.manifest.name, host) <= rollout.up_to_digest;
  return isReached ? desiredOf(wish) : rollout.previous;
};

const targetsFlaw = ({ hosts, labels, site, percent }: TargetSelector): string | null => {
  if (percent !== undefined) return "targets.percent: a wish has none; what is for everybody goes in steps by itself";
  if (hosts === undefined && labels === undefined && site === undefined)
    return 'targets: name hosts, labels or a site; every agent is labels: "*"';
  const canonical = readCanonical({ hosts, labels, site });
  if ("flaw" in canonical) return `targets: ${canonical.flaw}`;
  const matches = labels === undefined ? null : labelSelector(labels);
  if (matches === null || typeof matches === "function") return null;
  return `targets.labels: column ${matches.at}: ${matches.problem}`;
};

const configFlaw = ({ release: { manifest }, config }: PluginWish): string | null => {
  const canonical = readCanonical(config);
  if ("flaw" in canonical) return `config: ${canonical.flaw}`;
  if (Buffer.byteLength(canonical.json) > CONFIG_BYTES_MAX) return `config: more than ${CONFIG_BYTES_MAX} bytes`;
  return misfits(strictSchema(manifest.config_schema), config, "config");
};

const schemaFlaw = (manifest: PluginManifest): string | null => {
  if (Buffer.byteLength(JSON.stringify(manifest)) > MANIFEST_BYTES_MAX)
    return `its manifest has more than ${MANIFEST_BYTES_MAX} bytes`;
  try {
    for (const schema of [manifest.config_schema, ...manifest.executors.map(({ args_schema }) => args_schema)])
      strictSchema(schema);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};
