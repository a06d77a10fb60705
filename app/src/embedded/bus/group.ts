import type { AssignedPartition, ConsumeOptions } from "@homeostat/schemas";
import { HAND_OVER_MS_MAX } from "@homeostat/schemas";
import { type PartitionSource, servePartition } from "../../bus/serve-partition.ts";
import { type After, pause } from "../../bus/timers.ts";
import { type AssignableMember, assignPartitions } from "./assignment.ts";
import type { Partition } from "./partitions.ts";

export interface Member extends AssignableMember {
  readonly options: ConsumeOptions;
}

export interface Tenure {
  readonly signal: AbortSignal;
  /** Until the handler has closed, or its time to hand over has passed. */
  isOwner(): boolean;
}

export interface GroupOptions {
  readonly partitions: readonly Partition[];
  readonly after: After;
  readonly random: () => number;
  source(partition: Partition, member: Member, tenure: Tenure): PartitionSource;
  onFailure(member: Member, partition: Partition, error: Error, failures: number): void;
}

interface Session {
  readonly member: Member;
  readonly controller: AbortController;
  /** When the handler runs no more. */
  readonly done: Promise<void>;
}

/** The members of one consumer group in this process, and which of them serves which partition. */
export class Group {
  readonly #options: GroupOptions;
  readonly #members: Member[] = [];
  readonly #owners = new Map<Partition, Session>();
  readonly #sessions = new Set<Session>();

  constructor(options: GroupOptions) {
    this.#options = options;
  }

  join(member: Member): void {
    this.#members.push(member);
    this.#reconcile();
  }

  /** Resolves when none of the member's handlers runs any more. */
  async leave(member: Member): Promise<void> {
    const at = this.#members.indexOf(member);
    if (at >= 0) this.#members.splice(at, 1);
    this.#reconcile();
    await Promise.all([...this.#sessions].filter((session) => session.member === member).map(({ done }) => done));
  }

  #reconcile(): void {
    const current = new Map([...this.#owners].map(([partition, { member }]) => [partition, member]));
    const wanted = assignPartitions(this.#options.partitions, this.#members, current);
    for (const partition of this.#options.partitions) {
      const session = this.#owners.get(partition);
      const member = wanted.get(partition);
      if (session === undefined && member !== undefined) this.#start(partition, member);
      else if (session !== undefined && session.member !== member) session.controller.abort();
    }
  }

  #start(partition: Partition, member: Member): void {
    const controller = new AbortController();
    const { signal } = controller;
    const { after, random, onFailure } = this.#options;
    const tenure: Tenure = { signal, isOwner: () => this.#owners.get(partition) === session };
    const done = servePartition({
      source: this.#options.source(partition, member, tenure),
      open: (assigned: AssignedPartition) => member.options.open(assigned),
      retry: { signal, after, random, onFailure: (error, failures) => onFailure(member, partition, error, failures) },
    });
    const session: Session = { member, controller, done };
    this.#owners.set(partition, session);
    this.#sessions.add(session);
    const ended = new AbortController();
    void done.then(() => {
      this.#sessions.delete(session);
      ended.abort();
      this.#release(partition, session);
    });
    // A handler that does not come to an end must not keep the partition from the others.
    signal.addEventListener(
      "abort",
      () => void pause(HAND_OVER_MS_MAX, ended.signal, after).then(() => this.#release(partition, session)),
      { once: true },
    );
  }

  #release(partition: Partition, session: Session): void {
    if (this.#owners.get(partition) !== session) return;
    this.#owners.delete(partition);
    this.#reconcile();
  }
}
