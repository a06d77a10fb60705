import type { AgentIdentity, Heartbeat } from "@homeostat/schemas";
import type { Labels } from "./labels.ts";
import type { PluginHostView } from "./plugins/catalog-types.ts";
import type { Candidate, Candidates } from "./targets.ts";
import type { AgentView } from "./views.ts";

/** Above this, agents that nobody has enrolled and that are not heard of give way, the longest known first. */
const AGENTS_MAX = 100_000;
/** An agent on the bus has no identity that could be revoked: silent for this long it is forgotten. */
const FORGET_BUS_AGENT_MS = 24 * 3_600_000;

interface Session {
  readonly server: string;
}

class Agent implements Candidate {
  readonly host: string;
  identity: AgentIdentity | null = null;
  beat: Heartbeat | null = null;
  /** By our clock, as far as it can be known; 0 before the first. */
  beatAtUnixMs = 0;
  session: Session | null = null;
  seenAtUnixMs: number | null = null;
  constructor(host: string) {
    this.host = host;
  }

  /** The certificate's site counts, not what the agent says of itself. */
  get site(): string {
    return this.identity?.site ?? this.beat?.site ?? "";
  }

  get labels(): Readonly<Record<string, string>> {
    return this.beat?.labels ?? {};
  }

  get mayRun(): boolean {
    return this.identity === null ? this.beat?.state !== "retired" : this.identity.state === "active";
  }

  get isCounted(): boolean {
    return this.identity?.state !== "revoked";
  }
}

const areSame = (a: Labels, b: Labels): boolean => {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
};

/** All agents that are known: what they say of themselves, who they may be, and whether they are connected. */
export class Registry implements Candidates {
  readonly #agents = new Map<string, Agent>();
  readonly #siteSizes = new Map<string, number>();
  readonly #now: () => number;
  readonly #offlineAfterMs: number;

  constructor({ now, offlineAfterMs }: { readonly now: () => number; readonly offlineAfterMs: number }) {
    this.#now = now;
    this.#offlineAfterMs = offlineAfterMs;
  }

  get size(): number {
    return this.#agents.size;
  }

  get(host: string): Candidate | undefined {
    return this.#agents.get(host);
  }

  values(): Iterable<Candidate> {
    return this.#agents.values();
  }

  siteSize(site: string): number {
    return this.#siteSizes.get(site) ?? 0;
  }

  /** True when its labels are others than before. `how`: in its session, where each is newer than the one before whatever its clock says, or on the bus. */
  heard(beat: Heartbeat, how: "in its session" | "on the bus"): boolean {
    let areLabelsNew = false;
    this.#change(beat.host, (agent) => {
      const now = this.#now();
      const isTold = how === "in its session";
      // Of a clock that is ahead of ours nothing follows about what comes behind it.
      const isOld = agent.beat !== null && agent.beat.at_unix_ms > beat.at_unix_ms && agent.beat.at_unix_ms <= now;
      if (isOld && !isTold) return;
      areLabelsNew = !areSame(agent.labels, beat.labels);
      agent.beat = beat;
      agent.beatAtUnixMs = isTold ? now : Math.min(beat.at_unix_ms, now);
      agent.seenAtUnixMs = isTold ? now : Math.max(agent.seenAtUnixMs ?? 0, agent.beatAtUnixMs);
    });
    return areLabelsNew;
  }

  identified(identity: AgentIdentity): void {
    this.#change(identity.host, (agent) => {
      agent.identity = identity;
    });
  }

  connected(host: string, session: Session): void {
    this.#change(host, (agent) => {
      agent.session = session;
      agent.seenAtUnixMs = this.#now();
    });
  }

  disconnected(host: string): void {
    const agent = this.#agents.get(host);
    if (agent === undefined) return;
    agent.session = null;
    agent.seenAtUnixMs = this.#now();
  }

  views(): readonly AgentView[] {
    const [now, views] = [this.#now(), [] as AgentView[]];
    for (const agent of this.#agents.values()) {
      const isForgotten = agent.identity === null && now - (agent.seenAtUnixMs ?? 0) > FORGET_BUS_AGENT_MS;
      if (isForgotten) this.#forget(agent);
      else views.push(this.#view(agent));
    }
    return views.sort((a, b) => (a.host < b.host ? -1 : 1));
  }

  /** As the catalog of plugins wants to know them. */
  *pluginHosts(): Iterable<PluginHostView> {
    for (const { host, site, labels, beat, beatAtUnixMs } of this.#agents.values())
      yield { host, site, labels, plugins: beat?.plugins ?? [], seenAtUnixMs: beatAtUnixMs };
  }

  view(host: string): AgentView | null {
    const agent = this.#agents.get(host);
    return agent === undefined ? null : this.#view(agent);
  }

  #view(agent: Agent): AgentView {
    const { beat } = agent;
    return {
      host: agent.host,
      site: agent.site,
      labels: agent.labels,
      agent_version: beat?.agent_version ?? "",
      state: this.#stateOf(agent),
      link: agent.identity === null ? "bus" : "channel",
      server: agent.session?.server ?? null,
      last_seen_unix_ms: agent.seenAtUnixMs,
      clock_skew_ms: beat?.clock_skew_ms ?? null,
      problems: beat?.problems ?? [],
      plugins: beat?.plugins ?? [],
    };
  }

  #stateOf({ identity, beat, session, seenAtUnixMs }: Agent): AgentView["state"] {
    if (identity !== null && identity.state !== "active") return identity.state;
    const isSilent = this.#now() - (seenAtUnixMs ?? 0) > this.#offlineAfterMs;
    const isConnected = identity === null ? !isSilent : session !== null;
    if (!isConnected || beat?.state === "offline" || beat?.state === "retired") return "offline";
    return beat?.state === "degraded" || isSilent ? "degraded" : "online";
  }

  /** Sites are counted as agents change: a job of one host must not cost a walk over all of them. */
  #change(host: string, change: (agent: Agent) => void): void {
    let agent = this.#agents.get(host);
    if (agent === undefined) {
      if (this.#agents.size >= AGENTS_MAX) this.#makeRoom();
      agent = new Agent(host);
      this.#agents.set(host, agent);
    } else this.#countSite(agent, -1);
    change(agent);
    this.#countSite(agent, 1);
  }

  #makeRoom(): void {
    for (const agent of this.#agents.values())
      if (agent.identity === null && agent.session === null) {
        this.#forget(agent);
        return;
      }
  }

  #forget(agent: Agent): void {
    this.#agents.delete(agent.host);
    this.#countSite(agent, -1);
  }

  #countSite(agent: Agent, by: 1 | -1): void {
    if (!agent.isCounted || agent.site === "") return;
    const size = (this.#siteSizes.get(agent.site) ?? 0) + by;
    if (size <= 0) this.#siteSizes.delete(agent.site);
    else this.#siteSizes.set(agent.site, size);
  }
}
