import type { CommandResult, Dispatch } from "@homeostat/schemas";
import { hasEnded } from "@homeostat/schemas";

/** Beyond, the oldest are forgotten; each is one host of a site, mended by itself, of which few go on at a time. */
const DISPATCHES_MAX = 10_000;
/** Behind the time in which a command can run, until its end must have been heard. */
const GRACE_MS = 600_000;

interface Open {
  readonly site: string;
  readonly hosts: Set<string>;
  readonly untilUnixMs: number;
}

/** Hosts of each site that commands beside the jobs are changing: those of remediation, which sends its own. */
export class OtherShares {
  readonly #open = new Map<string, Open>();

  /** On the bus. What only looks counts for nobody. */
  began({ signed: { grant }, hosts }: Dispatch): void {
    this.#forgetBefore(grant.issued_at_unix_ms);
    const [site] = Object.keys(grant.targets.sites);
    if (grant.risk === "read_only" || site === undefined) return;
    const untilUnixMs = grant.not_after_unix_ms + grant.timeout_ms + GRACE_MS;
    this.#open.set(grant.command_id, { site, hosts: new Set(hosts), untilUnixMs });
    const oldest = this.#open.size > DISPATCHES_MAX ? this.#open.keys().next().value : undefined;
    if (oldest !== undefined) this.#open.delete(oldest);
  }

  heard({ command_id, host, state }: Pick<CommandResult, "command_id" | "host" | "state">): void {
    const open = this.#open.get(command_id);
    if (open === undefined || !hasEnded(state)) return;
    open.hosts.delete(host);
    if (open.hosts.size === 0) this.#open.delete(command_id);
  }

  /** A host counts once, however many commands it has. */
  at(site: string): number {
    const hosts = new Set<string>();
    for (const open of this.#open.values()) if (open.site === site) for (const host of open.hosts) hosts.add(host);
    return hosts.size;
  }

  #forgetBefore(nowUnixMs: number): void {
    for (const [commandId, { untilUnixMs }] of this.#open) if (untilUnixMs < nowUnixMs) this.#open.delete(commandId);
  }
}
