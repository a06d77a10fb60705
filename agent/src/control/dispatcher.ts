import {
  type CommandResult,
  commandsOf,
  type Dispatch,
  type Grant,
  hasEnded,
  type InvocationState,
  type SignedCancel,
} from "@homeostat/schemas";
import { Deadlines } from "./deadlines.ts";

/** What one agent is given before it has answered: it queues a few dozen at most, and the rest waits here. */
const IN_FLIGHT_PER_HOST_MAX = 32;
/** Of commands that wait for one host, and for all; beyond, they are answered as refused, which is true: nobody was given them. */
const PENDING_PER_HOST_MAX = 1_000;
const PENDING_MAX = 500_000;
/** Cancellations that are remembered for hosts which are not here. Beyond, the oldest give way: the command's expiry still holds. */
const CANCELS_PER_HOST_MAX = 1_000;

/** Where the consumers of commands and results stood when something began: a new leader reads from there. */
export interface Standing {
  readonly commands: number;
  readonly results: number;
}

export type Reach =
  /** It speaks to the bus itself, and reads its commands there. */
  | "bus"
  | "channel"
  /** Quarantined or revoked: it gets nothing. */
  | "barred";

export interface DispatcherPorts {
  reach(host: string): Reach;
  /** False: there is no session, or its site server is behind. `connected` or `goOn` is called when there is a way. */
  hasRoom(host: string): boolean;
  /** Also without room, for what is short and must not wait. False: there is no session. */
  send(host: string, message: string): boolean;
  /** A result that control itself decides; on the bus like any other. */
  conclude(result: CommandResult): void;
  onState(commandId: string, host: string, state: InvocationState, atUnixMs: number): void;
  readonly now: () => number;
  readonly lostGraceMs: number;
}

interface Entry {
  readonly grant: Grant;
  readonly dispatch: Dispatch;
  readonly standing: Standing;
  /** What a command's JSON begins with, the same for all hosts. */
  readonly head: string;
  readonly commandAt: (index: number) => { readonly proof: unknown };
  open: number;
  /** When its invocations are looked at next: all have the same deadlines. */
  dueAtUnixMs: number;
}

interface Invocation {
  readonly entry: Entry;
  readonly index: number;
  readonly host: string;
  state: InvocationState;
  /** It may have reached the host: only the host knows what became of it. */
  isHandedOut: boolean;
  /** Not sent in this session. */
  isWaiting: boolean;
  /** Control has decided its end, and waits for that to be on the bus. */
  isConcluded: boolean;
}

/** One host's commands that have not ended. */
interface HostQueue {
  /** Oldest first. */
  readonly pending: Map<string, Invocation>;
  /** How many of them wait. */
  waiting: number;
  /** null: none; most hosts never have any. */
  cancels: Map<string, SignedCancel> | null;
}

/**
 * Brings commands to hosts, at least once, until there is a result; the agent's journal makes that one run. It keeps what is open and
 * nothing more. All effects go through its ports, at once and in order.
 */
export class Dispatcher {
  readonly #ports: DispatcherPorts;
  readonly #entries = new Map<string, Entry>();
  readonly #hosts = new Map<string, HostQueue>();
  readonly #deadlines = new Deadlines<Entry>();
  #pending = 0;

  constructor(ports: DispatcherPorts) {
    this.#ports = ports;
  }

  get open(): number {
    return this.#pending;
  }

  /** Commands that were never handed out. */
  held(): number {
    let held = 0;
    for (const { pending } of this.#hosts.values())
      for (const { isWaiting, isHandedOut } of pending.values()) if (isWaiting && !isHandedOut) held += 1;
    return held;
  }

  /** Of the oldest dispatch with an open invocation; null when there is none. */
  oldest(): Standing | null {
    const first = this.#entries.values().next();
    return first.done === true ? null : first.value.standing;
  }

  /**
   * Takes up a dispatch that is on the bus. `mayBeHandedOut`: another leader may have sent it already. `isJobs`: hosts on the bus are watched too; otherwise whoever sent it watches them.
   */
  take(
    dispatch: Dispatch,
    how: {
      readonly standing: Standing;
      readonly mayBeHandedOut: boolean;
      readonly isJobs: boolean;
    },
  ): void {
    const { grant } = dispatch.signed;
    if (this.#entries.has(grant.command_id)) return;
    const entry: Entry = {
      grant,
      dispatch,
      standing: how.standing,
      head: `{"type":"command","command":{"signed":${JSON.stringify(dispatch.signed)},"args":${JSON.stringify(dispatch.args)},`,
      commandAt: lazily(() => commandsOf(dispatch)),
      open: 0,
      dueAtUnixMs: grant.not_after_unix_ms,
    };
    this.#entries.set(grant.command_id, entry);
    const hosts: string[] = [];
    for (const [index, host] of dispatch.hosts.entries()) {
      const reach = this.#ports.reach(host);
      if (reach === "bus" && !how.isJobs) continue;
      const isHandedOut = how.mayBeHandedOut || reach === "bus";
      const invocation: Invocation = {
        entry,
        index,
        host,
        state: "queued",
        isHandedOut,
        isWaiting: reach !== "bus",
        isConcluded: false,
      };
      if (this.#add(invocation)) hosts.push(host);
    }
    if (entry.open === 0) this.#entries.delete(grant.command_id);
    else this.#deadlines.add(entry.dueAtUnixMs, entry);
    for (const host of hosts) this.#send(host);
  }

  #add(invocation: Invocation): boolean {
    const { entry, host, isHandedOut, isWaiting } = invocation;
    const queue = this.#queueOf(host);
    if (!isHandedOut && (queue.pending.size >= PENDING_PER_HOST_MAX || this.#pending >= PENDING_MAX)) {
      const [count, of] =
        queue.pending.size >= PENDING_PER_HOST_MAX ? [PENDING_PER_HOST_MAX, "for this host"] : [PENDING_MAX, "in all"];
      invocation.isWaiting = false;
      this.#conclude(invocation, "refused", `${count} commands wait ${of} already; it was not handed out`);
      return false;
    }
    queue.pending.set(entry.grant.command_id, invocation);
    if (isWaiting) queue.waiting += 1;
    entry.open += 1;
    this.#pending += 1;
    return true;
  }

  /** A signed cancellation that is on the bus: goes to whoever may have the command; what was not handed out is cancelled here and now. */
  cancel(signed: SignedCancel): void {
    const { command_id, hosts, cancelled_by } = signed.cancel;
    const entry = this.#entries.get(command_id);
    if (entry === undefined) return;
    for (const host of hosts.length > 0 ? hosts : entry.dispatch.hosts) {
      const queue = this.#hosts.get(host);
      const invocation = queue?.pending.get(command_id);
      if (queue === undefined || invocation === undefined || invocation.isConcluded) continue;
      if (this.#ports.reach(host) === "bus") continue;
      if (!invocation.isHandedOut) {
        this.#conclude(invocation, "cancelled", `cancelled by ${cancelled_by} before it was handed out`);
        continue;
      }
      queue.cancels ??= new Map();
      queue.cancels.set(command_id, signed);
      const oldest = queue.cancels.size > CANCELS_PER_HOST_MAX ? queue.cancels.keys().next() : null;
      if (oldest !== null && !oldest.done) queue.cancels.delete(oldest.value);
      this.#ports.send(host, cancelText(signed));
    }
  }

  /** A session with this host has been confirmed: whatever has no result is told again, cancellations first, so that nothing cancelled begins. */
  connected(host: string): void {
    const queue = this.#hosts.get(host);
    if (queue === undefined) return;
    for (const cancel of queue.cancels?.values() ?? []) this.#ports.send(host, cancelText(cancel));
    for (const invocation of queue.pending.values()) {
      if (invocation.isConcluded || invocation.isWaiting) continue;
      invocation.isWaiting = true;
      queue.waiting += 1;
    }
    this.#send(host);
  }

  /** It is readmitted, or its site server has room again: what waits may be sent. */
  goOn(host: string): void {
    this.#send(host);
  }

  progressed(commandId: string, host: string, state: "accepted" | "running", atUnixMs: number): void {
    const invocation = this.#hosts.get(host)?.pending.get(commandId);
    if (invocation === undefined || invocation.state === state || invocation.state === "running") return;
    invocation.state = state;
    this.#ports.onState(commandId, host, state, atUnixMs);
  }

  /** Its result is on the bus. False when nothing was open for it. */
  settled(commandId: string, host: string): boolean {
    const queue = this.#hosts.get(host);
    const invocation = queue?.pending.get(commandId);
    if (queue === undefined || invocation === undefined) return false;
    const { entry } = invocation;
    queue.pending.delete(commandId);
    if (invocation.isWaiting) queue.waiting -= 1;
    queue.cancels?.delete(commandId);
    if (queue.pending.size === 0) this.#hosts.delete(host);
    this.#pending -= 1;
    entry.open -= 1;
    if (entry.open === 0) {
      this.#entries.delete(commandId);
      this.#deadlines.delete(entry.dueAtUnixMs, entry);
    }
    if (queue.waiting > 0) this.#send(host);
    return true;
  }

  isOpen(commandId: string, host: string): boolean {
    return this.#hosts.get(host)?.pending.has(commandId) === true;
  }

  /** What is overdue: nobody was given it, or nobody knows what became of it. */
  tick(): void {
    const now = this.#ports.now();
    for (const entry of this.#deadlines.due(now)) {
      const lostAt = entry.grant.not_after_unix_ms + entry.grant.timeout_ms + this.#ports.lostGraceMs;
      for (const host of entry.dispatch.hosts) {
        const invocation = this.#hosts.get(host)?.pending.get(entry.grant.command_id);
        if (invocation !== undefined && !invocation.isConcluded) this.#giveUp(invocation, now > lostAt);
      }
      if (now > lostAt) continue;
      entry.dueAtUnixMs = lostAt;
      this.#deadlines.add(lostAt, entry);
    }
  }

  #giveUp(invocation: Invocation, isLost: boolean): void {
    if (!invocation.isHandedOut) {
      const isBarred = this.#ports.reach(invocation.host) === "barred";
      const why = isBarred ? "the host is quarantined or revoked" : "the host was not here in time";
      this.#conclude(invocation, "expired", `${why}; it was not handed out`);
    } else if (isLost)
      this.#conclude(invocation, "lost", "nothing was heard of it by the time it must have ended; it is not run again");
  }

  #send(host: string): void {
    const queue = this.#hosts.get(host);
    if (queue === undefined || this.#ports.reach(host) !== "channel") return;
    for (const invocation of queue.pending.values()) {
      if (queue.waiting === 0 || queue.pending.size - queue.waiting >= IN_FLIGHT_PER_HOST_MAX) return;
      const { isWaiting, isHandedOut, entry } = invocation;
      if (!isWaiting || (!isHandedOut && this.#ports.now() > entry.grant.not_after_unix_ms)) continue;
      // Asked before its text is made: a server that is behind has thousands of hosts that wait.
      if (!this.#ports.hasRoom(host) || !this.#ports.send(host, this.#textOf(invocation))) return;
      invocation.isWaiting = false;
      invocation.isHandedOut = true;
      queue.waiting -= 1;
      if (invocation.state !== "queued") continue;
      invocation.state = "delivered";
      this.#ports.onState(entry.grant.command_id, host, "delivered", this.#ports.now());
    }
  }

  #textOf({ entry, index, host }: Invocation): string {
    return `${entry.head}"host":${JSON.stringify(host)},"proof":${JSON.stringify(entry.commandAt(index).proof)}}}`;
  }

  /** Stays open until its result has come back from the bus, so that a crash before that decides it again. */
  #conclude(invocation: Invocation, state: InvocationState, message: string): void {
    const { entry, host } = invocation;
    const queue = this.#hosts.get(host);
    if (invocation.isWaiting && queue !== undefined) queue.waiting -= 1;
    invocation.isWaiting = false;
    invocation.isConcluded = true;
    this.#ports.conclude({
      command_id: entry.grant.command_id,
      host,
      executor: entry.grant.executor,
      state,
      exit_code: null,
      stdout: "",
      stderr: "",
      output_truncated: false,
      started_at_unix_ms: null,
      ended_at_unix_ms: hasEnded(state) ? this.#ports.now() : null,
      message,
    });
  }

  #queueOf(host: string): HostQueue {
    let queue = this.#hosts.get(host);
    if (queue === undefined) {
      queue = { pending: new Map(), waiting: 0, cancels: null };
      this.#hosts.set(host, queue);
    }
    return queue;
  }
}

const cancelText = (cancel: SignedCancel): string => JSON.stringify({ type: "cancel", cancel });

/** The tree of hosts is made when the first of them is sent its command. */
const lazily = <T>(make: () => (index: number) => T): ((index: number) => T) => {
  let made: ((index: number) => T) | null = null;
  return (index) => {
    made ??= make();
    return made(index);
  };
};
