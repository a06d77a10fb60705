export interface AssignableMember {
  readonly topics: readonly string[];
}

/**
 * Shares the partitions of a group among its members. Sticky: a partition stays where it is unless its member has gone or carries
 * at least two more than another that could take it. Members count in the order of joining, so the outcome is deterministic.
 */
export const assignPartitions = <P extends { readonly topic: string }, M extends AssignableMember>(
  partitions: readonly P[],
  members: readonly M[],
  current: ReadonlyMap<P, M>,
): Map<P, M> => {
  const assigned = new Map<P, M>();
  const load = new Map(members.map((member) => [member, 0]));
  const loadOf = (member: M) => load.get(member) ?? 0;
  const takers = (partition: P) => members.filter((member) => member.topics.includes(partition.topic));
  const give = (partition: P, member: M) => {
    const before = assigned.get(partition);
    if (before !== undefined) load.set(before, loadOf(before) - 1);
    assigned.set(partition, member);
    load.set(member, loadOf(member) + 1);
  };
  const leastLoaded = (candidates: readonly M[]) =>
    candidates.reduce<M | undefined>(
      (least, member) => (least === undefined || loadOf(member) < loadOf(least) ? member : least),
      undefined,
    );

  for (const partition of partitions) {
    const owner = current.get(partition);
    if (owner !== undefined && takers(partition).includes(owner)) give(partition, owner);
  }
  for (const partition of partitions) {
    if (assigned.has(partition)) continue;
    const taker = leastLoaded(takers(partition));
    if (taker !== undefined) give(partition, taker);
  }
  // Each move lowers the sum of squared loads, so this ends.
  for (let moved = true; moved; ) {
    moved = false;
    for (const [partition, owner] of assigned) {
      const taker = leastLoaded(takers(partition));
      if (taker === undefined || loadOf(owner) - loadOf(taker) < 2) continue;
      give(partition, taker);
      moved = true;
    }
  }
  return assigned;
};
