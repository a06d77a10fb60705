import type { DesiredPlugins, PluginRelease, PluginStatus, PluginWish, Risk, TargetSelector } from "@homeostat/schemas";
import type { Refused } from "../views.ts";

/** A host as the catalog needs to know it. */
export interface PluginHostView {
  readonly host: string;
  readonly site: string;
  readonly labels: Readonly<Record<string, string>>;
  /** As its newest heartbeat says; empty before the first. */
  readonly plugins: readonly PluginStatus[];
  /** Of that heartbeat; 0 before the first. */
  readonly seenAtUnixMs: number;
}

export interface WishRequest {
  readonly name: string;
  /** Of a published release; for what ships with the agent: null. */
  readonly version: string | null;
  readonly targets: TargetSelector;
  readonly config?: PluginWish["config"];
  readonly pinned?: boolean;
  readonly enabled?: boolean;
  /** `true`: to all hosts that `labels: "*"` selects at once, without steps. */
  readonly atOnce?: boolean;
  readonly by: string;
}

export interface PluginCatalog {
  /** Resolves when all that is wished stands in memory. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Checks everything that an agent will check; stored when it resolves. The same release again is no error; another one of the same version is. */
  publish(artefact: Uint8Array, release: unknown): Promise<PluginRelease | Refused>;
  /** Durable when it resolves. Replaces the wish with the same name and targets. */
  wish(request: WishRequest): Promise<PluginWish | Refused>;
  unwish(name: string, targets: TargetSelector): Promise<PluginWish | Refused>;
  releases(): readonly PluginRelease[];
  wishes(): readonly PluginWish[];
  /** The highest that any published release declares for this executor; null when none brings it. */
  riskOf(executor: string): Risk | null;
  desiredFor(host: Pick<PluginHostView, "host" | "site" | "labels">): DesiredPlugins;
  /** Called after each change of what anybody is to have. Returns what ends it. */
  onDesiredChange(listener: () => void): () => void;
  /** Call it now and then: takes roll-outs one step further when the hosts of the step before fare well, halts them when not. */
  tick(hosts: Iterable<PluginHostView>): Promise<void>;
  /** A piece of an artefact. @throws RangeError when there is no such artefact or no such piece. */
  read(sha256: string, offset: number, length: number): Promise<Buffer>;
}
