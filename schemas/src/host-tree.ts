import { hash } from "node:crypto";

/**
 * The hosts that one grant names, as the Merkle tree of RFC 9162 (2.1): one signature covers any number of hosts, and each host is shown
 * that it is among them by a proof of log2(n) digests.
 */
export interface HostProof {
  /** The host's place among all of them. */
  readonly index: number;
  /** Digests in hex, from the leaf's sibling up. */
  readonly path: readonly string[];
}

const DIGEST_BYTES = 32;

/** In hex, like all digests here: what is asked for is hex, and each node stands in the proofs of many hosts. */
const leafOf = (host: string): string => hash("sha256", `\0${host}`, "hex");

/** Hashed from here, synchronously: nothing of it lives longer. */
const pair = Buffer.alloc(1 + 2 * DIGEST_BYTES, 1);

/** null when one of them is no digest. */
const parentOf = (left: string, right: string): string | null => {
  if (left.length !== 2 * DIGEST_BYTES || right.length !== 2 * DIGEST_BYTES) return null;
  if (pair.write(left, 1, "hex") !== DIGEST_BYTES || pair.write(right, 1 + DIGEST_BYTES, "hex") !== DIGEST_BYTES)
    return null;
  return hash("sha256", pair, "hex");
};

/** The levels of the tree, leaves first. A last node without a sibling is its own parent, which gives the tree of the RFC. */
const levelsOf = (hosts: readonly string[]): string[][] => {
  const levels = [hosts.map(leafOf)];
  for (let level = levels[0] ?? []; level.length > 1; levels.push(level)) {
    const above: string[] = [];
    for (let at = 0; at < level.length; at += 2) {
      const [left, right] = [level[at], level[at + 1]];
      if (left !== undefined) above.push(right === undefined ? left : (parentOf(left, right) ?? ""));
    }
    level = above;
  }
  return levels;
};

/** Made once for a list of hosts; a proof for each. */
export class HostTree {
  readonly #levels: string[][];

  /** @throws RangeError for no hosts at all. */
  constructor(hosts: readonly string[]) {
    if (hosts.length === 0) throw new RangeError("a grant names at least one host");
    this.#levels = levelsOf(hosts);
  }

  /** In hex. */
  get root(): string {
    return this.#levels.at(-1)?.[0] ?? "";
  }

  proof(index: number): HostProof {
    const path: string[] = [];
    let at = index;
    for (const level of this.#levels) {
      const sibling = level[at ^ 1];
      if (sibling !== undefined) path.push(sibling);
      at >>= 1;
    }
    return { index, path };
  }
}

/** Whether `host` is at `index` of the `count` hosts whose tree has this root (RFC 9162, 2.1.3.2). */
export const isAmong = (host: string, { index, path }: HostProof, tree: { root: string; count: number }): boolean => {
  if (!Number.isSafeInteger(index) || index < 0 || index >= tree.count) return false;
  let [at, last] = [index, tree.count - 1];
  let node: string | null = leafOf(host);
  for (const sibling of path) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      node = parentOf(sibling, node);
      while (at % 2 === 0 && at !== 0) [at, last] = [at >> 1, last >> 1];
    } else {
      node = parentOf(node, sibling);
    }
    if (node === null) return false;
    [at, last] = [at >> 1, last >> 1];
  }
  return last === 0 && node === tree.root;
};
