import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HostTree, isAmong } from "./host-tree.ts";

const hostsOf = (count: number): string[] => Array.from({ length: count }, (_, index) => `host-${index}`);

describe("the tree of hosts", () => {
  it("shows each of its hosts to be among them, whatever their number", () => {
    for (let count = 1; count <= 70; count++) {
      const hosts = hostsOf(count);
      const tree = new HostTree(hosts);
      hosts.forEach((host, index) => {
        expect(isAmong(host, tree.proof(index), { root: tree.root, count })).toBe(true);
      });
    }
  });

  it("has the root of RFC 9162 for an empty-string leaf and for two leaves", () => {
    // SHA-256(0x00), the leaf hash of the empty string, as in the test vectors of Certificate Transparency (RFC 6962).
    expect(new HostTree([""]).root).toBe("6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    expect(new HostTree(["", "\0"]).root).toBe("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125");
  });

  it("shows nobody else, at no place, by no proof of another, and with no altered proof", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.nat(), fc.nat(), fc.nat(), (count, a, b, bit) => {
        const hosts = hostsOf(count);
        const tree = new HostTree(hosts);
        const [own, other] = [a % count, b % count];
        const at = { root: tree.root, count };
        expect(isAmong("stranger", tree.proof(own), at)).toBe(false);
        if (own !== other) {
          expect(isAmong(hosts[own] ?? "", tree.proof(other), at)).toBe(false);
          expect(isAmong(hosts[own] ?? "", { ...tree.proof(own), index: other }, at)).toBe(false);
        }
        const { index, path } = tree.proof(own);
        if (path.length === 0) return;
        const place = bit % path.length;
        const altered = path.map((hex, level) =>
          level === place ? hex.replace(/./, (c) => (c === "0" ? "1" : "0")) : hex,
        );
        expect(isAmong(hosts[own] ?? "", { index, path: altered }, at)).toBe(false);
        expect(isAmong(hosts[own] ?? "", { index, path: path.slice(1) }, at)).toBe(false);
        expect(isAmong(hosts[own] ?? "", { index, path: [...path, path[0] ?? ""] }, at)).toBe(false);
      }),
    );
  });

  it("takes nothing for a digest that is not one", () => {
    const tree = new HostTree(["a", "b"]);
    const [sibling = ""] = tree.proof(0).path;
    for (const path of [[""], ["zz"], [sibling.slice(2)], [`${sibling}00`]])
      expect(isAmong("a", { index: 0, path }, { root: tree.root, count: 2 })).toBe(false);
  });

  it("refuses to be made of no hosts", () => {
    expect(() => new HostTree([])).toThrow(RangeError);
  });
});
