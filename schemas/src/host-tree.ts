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

const leafOf = (host: string): Buffer => hash("sha256", Buffer.from(`\0${host}`, "utf8"), "buffer");

/** Hashed from here, synchronously: nothing of it lives longer. */
const pair = Buffer.alloc(1 + 2 * DIGEST_BYTES, 1);

const parentOf = (left: Uint8Array, right: Uint8Array): Buffer => {
  pair.set(left, 1);
  pair.set(right, 1 + DIGEST_BYTES);
  return hash("sha256", pair, "buffer");
};

/** The levels of the tree, leaves first. A last node without a sibling is its own parent, which gives the tree of the RFC. */
const levelsOf = (hosts: readonly string[]): Buffer[][] => {
  const levels = [hosts.map(leafOf)];
  for (let level = levels[0] ?? []; level.length > 1; levels.push(level)) {
    const above: Buffer[] = [];
    for (let at = 0; at < level.length; at += 2) {
      const [left, right] = [level[at], level[at + 1]];
      if (left !== undefined) above.push(right === undefined ? left : parentOf(left, right));
    }
    level = above;
  }
  return levels;
};

/** Made once for a list of hosts; a proof for each. */
export class HostTree {
  readonly #levels: Buffer[][];

  /** @throws RangeError for no hosts at all. */
  constructor(hosts: readonly string[]) {
    if (hosts.length === 0) throw new RangeError("a grant names at least one host");
    this.#levels = levelsOf(hosts);
  }

  /** In hex. */
  get root(): string {
    return this.#levels.at(-1)?.[0]?.toString("hex") ?? "";
  }

  proof(index: number): HostProof {
    const path: string[] = [];
    let at = index;
    for (const level of this.#levels.slice(0, -1)) {
      const sibling = level[at ^ 1];
      if (sibling !== undefined) path.push(sibling.toString("hex"));
      at >>= 1;
    }
    return { index, path };
  }
}

/** Whether `host` is at `index` of the `count` hosts whose tree has this root (RFC 9162, 2.1.3.2). */
export const isAmong = (host: string, { index, path }: HostProof, tree: { root: string; count: number }): boolean => {
  if (!Number.isSafeInteger(index) || index < 0 || index >= tree.count) return false;
  let [at, last] = [index, tree.count - 1];
  let node = leafOf(host);
  for (const hex of path) {
    if (last === 0) return false;
    const sibling = Buffer.from(hex, "hex");
    if (sibling.length !== DIGEST_BYTES) return false;
    if (at % 2 === 1 || at === last) {
      node = parentOf(sibling, node);
      while (at % 2 === 0 && at !== 0) [at, last] = [at >> 1, last >> 1];
    } else {
      node = parentOf(node, sibling);
    }
    [at, last] = [at >> 1, last >> 1];
  }
  return last === 0 && node.toString("hex") === tree.root;
};
