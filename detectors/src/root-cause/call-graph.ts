import type { SpanTree } from "./span-tree.ts";

/** Who calls whom: the given edges and those that the spans show. Cycles and loops on oneself are allowed. */
export interface CallGraph {
  readonly calleesOf: (service: string) => ReadonlySet<string>;
  readonly callersOf: (service: string) => ReadonlySet<string>;
}

/** More edges than these are not a graph of services. */
const EDGES_MAX = 100_000;
const NONE: ReadonlySet<string> = new Set();

export const callGraph = (edges: Iterable<readonly [string, string]>): CallGraph => {
  const callees = new Map<string, Set<string>>();
  const callers = new Map<string, Set<string>>();
  let count = 0;
  for (const [caller, callee] of edges) {
    if (caller === callee || ++count > EDGES_MAX) continue;
    callees.set(caller, (callees.get(caller) ?? new Set()).add(callee));
    callers.set(callee, (callers.get(callee) ?? new Set()).add(caller));
  }
  return {
    calleesOf: (service) => callees.get(service) ?? NONE,
    callersOf: (service) => callers.get(service) ?? NONE,
  };
};

export const edgesOf = (tree: SpanTree): readonly (readonly [string, string])[] => {
  const seen = new Map<string, readonly [string, string]>();
  for (let at = 0; at < tree.spans.length; at++) {
    const parent = tree.spans[tree.parents[at] as number]?.service;
    const service = tree.spans[at]?.service ?? "";
    if (parent !== undefined && parent !== service) seen.set(`${parent}\u0000${service}`, [parent, service]);
  }
  return [...seen.values()];
};

/** The nearest callees that `has` something to tell, through those that have not. */
export const nearestCallees = (
  graph: CallGraph,
  service: string,
  has: (service: string) => boolean,
): ReadonlySet<string> => {
  const found = new Set<string>();
  const seen = new Set([service]);
  const queue = [...graph.calleesOf(service)];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    if (seen.has(next)) continue;
    seen.add(next);
    if (has(next)) found.add(next);
    else queue.push(...graph.calleesOf(next));
  }
  return found;
};
