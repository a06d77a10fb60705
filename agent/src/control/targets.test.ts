import type { JobRequest, TargetSelector } from "@homeostat/schemas";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Candidates, saltOf, select } from "./targets.ts";

const fleetOf = (agents: readonly { host: string; site?: string; tier?: string; mayRun?: boolean }[]): Candidates => {
  const all = new Map(
    agents.map(({ host, site = "dc1", tier = "web", mayRun = true }) => [
      host,
      { host, site, labels: { tier }, mayRun },
    ]),
  );
  return {
    size: all.size,
    get: (host) => all.get(host),
    values: () => all.values(),
    siteSize: (site) => [...all.values()].filter((agent) => agent.site === site).length,
  };
};
const many = (count: number) => fleetOf(Array.from({ length: count }, (_, index) => ({ host: `h${index}` })));
const hostsOf = (selector: TargetSelector, agents: Candidates, salt = "s"): readonly string[] => {
  const selection = select(selector, { agents, salt });
  if ("refused" in selection) throw new Error(selection.message);
  return selection.hosts;
};

describe("targets", () => {
  const agents = fleetOf([
    { host: "a" },
    { host: "b", tier: "db" },
    { host: "c", site: "dc2" },
    { host: "q", mayRun: false },
  ]);

  it("must meet all that is asked: names, labels and site", () => {
    expect(hostsOf({ labels: "*" }, agents).toSorted()).toEqual(["a", "b", "c"]);
    expect(hostsOf({ labels: "tier=web", site: "dc1" }, agents)).toEqual(["a"]);
    expect(hostsOf({ hosts: ["a", "b", "a"], labels: "tier=db" }, agents)).toEqual(["b"]);
    expect(hostsOf({ site: "dc2" }, agents)).toEqual(["c"]);
  });

  it("tell how much of each site they touch, agents that may not run anything included", () => {
    expect(select({ labels: "*" }, { agents, salt: "s" })).toMatchObject({
      sites: { dc1: { targeted: 2, of: 3 }, dc2: { targeted: 1, of: 1 } },
    });
  });

  it.each([
    { selector: {}, refused: "no_targets", message: /name hosts, a label expression or a site/ },
    { selector: { percent: 10 }, refused: "no_targets", message: /every agent is labels/ },
    { selector: { labels: "tier=gone" }, refused: "no_targets", message: /of 4 that are known/ },
    { selector: { hosts: [] }, refused: "no_targets", message: /no agent is selected/ },
    { selector: { hosts: ["a", "x", "y"] }, refused: "invalid", message: /unknown hosts: x, y$/ },
    { selector: { hosts: ["q"] }, refused: "wrong_state", message: /quarantined or revoked.*: q$/ },
    {
      selector: { labels: "tier in (web" },
      refused: "invalid",
      message: /labels "tier in \(web", column 13: want , or \)/,
    },
    {
      selector: { hosts: Array.from({ length: 12 }, (_, n) => `x${n}`) },
      refused: "invalid",
      message: /x9 and 2 more$/,
    },
  ])("$selector are refused: $message", ({ selector, refused, message }) => {
    const selection = select(selector, { agents, salt: "s" });
    expect(selection).toMatchObject({ refused, message: expect.stringMatching(message) });
  });

  it("take a share rounded up, exactly, and the larger share takes in the smaller", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200 }),
        fc.integer({ min: 1, max: 1000 }),
        fc.string(),
        (count, permille, salt) => {
          const fleet = many(count);
          const percent = permille / 10;
          const hosts = hostsOf({ labels: "*", percent }, fleet, salt);
          expect(hosts).toHaveLength(Number((BigInt(count) * BigInt(permille) + 999n) / 1000n));
          expect(hostsOf({ labels: "*" }, fleet, salt).slice(0, hosts.length)).toEqual(hosts);
        },
      ),
    );
  });

  it("of a share follow from what is asked and not from the order of the agents", () => {
    const [forwards, backwards] = [
      Array.from({ length: 50 }, (_, n) => ({ host: `h${n}` })),
      Array.from({ length: 50 }, (_, n) => ({ host: `h${49 - n}` })),
    ];
    const selector = { labels: "*", percent: 20 };
    expect(hostsOf(selector, fleetOf(forwards))).toEqual(hostsOf(selector, fleetOf(backwards)));
    expect(hostsOf(selector, fleetOf(forwards), "other")).not.toEqual(hostsOf(selector, fleetOf(forwards)));
  });

  it("are salted by what is asked, however much of it", () => {
    const ask = (
      targets: TargetSelector,
      executor = "exec.run",
    ): Pick<JobRequest, "executor" | "args" | "targets"> => ({
      executor,
      args: { name: "x" },
      targets,
    });
    expect(saltOf(ask({ labels: "*", percent: 10 }))).toBe(saltOf(ask({ labels: "*", percent: 20 })));
    expect(saltOf(ask({ labels: "*" }))).not.toBe(saltOf(ask({ labels: "a" })));
    expect(saltOf(ask({ labels: "*" }))).not.toBe(saltOf(ask({ labels: "*" }, "files.free")));
  });
});
