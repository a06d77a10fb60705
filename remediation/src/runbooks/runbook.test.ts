import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RemediationConfig } from "../config.ts";
import { someFinding } from "../testing/pure-engine.ts";
import { loadRunbooks } from "./load.ts";
import { chooseRunbook, matchesPattern } from "./match.ts";
import { Runbook } from "./runbook.ts";
import { fillIn } from "./template.ts";

const good = {
  name: "restart",
  match: { entity_has: ["service"] },
  action: "restart_service",
  params: { service: "{{entity.service}}" },
  verify: { facts: [{ name: "up", metric: "m", aggregate: "last" }], checks: [{ fact: "up", op: "ge", value: 1 }] },
};

describe("loading runbooks", () => {
  it("takes a good one, with what it leaves out filled in", () => {
    expect(loadRunbooks([{ source: "a.yaml", value: good }])).toMatchObject({
      problems: [],
      runbooks: [{ name: "restart", autonomy: "suggest", verify: { for_s: 5, facts: [{ window_s: 15 }] } }],
    });
  });

  it("refuses all of them with every problem and its place", () => {
    const { runbooks, problems } = loadRunbooks([
      { source: "ok.yaml", value: good },
      { source: "same.yaml", value: good },
      { source: "typo.yaml", value: { ...good, name: "typo", autonmy: "auto" } },
      { source: "action.yaml", value: { ...good, name: "action", action: "reboot_moon" } },
      {
        source: "contradictory.yaml",
        value: {
          ...good,
          name: "contradictory",
          match: {},
          params: { service: "{{entity.service}} {{labels.pool}} {{entity.colour}}", timeout_ms: 1 },
          verify: {
            facts: good.verify.facts,
            checks: [{ fact: "down", op: "ge", value: 1 }],
            for_s: 60,
            timeout_s: 60,
          },
        },
      },
    ]);
    expect(runbooks).toEqual([]);
    expect(problems.map(({ path }) => path)).toEqual([
      "same.yaml: name",
      "typo.yaml",
      "action.yaml: action",
      "contradictory.yaml: match.entity_has",
      "contradictory.yaml: match.labels",
      "contradictory.yaml: params",
      "contradictory.yaml: params.timeout_ms",
      "contradictory.yaml: verify.facts[0]",
      "contradictory.yaml: verify.checks[0].fact",
      "contradictory.yaml: verify.timeout_s",
    ]);
    expect(problems[1]?.message).toContain("autonmy");
  });

  it("ships runbooks that are valid, and a configuration that needs nothing", () => {
    const config = RemediationConfig.parse({});
    expect(config.runbooks.map(({ name }) => name)).toEqual([
      "restart-crashed-service",
      "restart-erroring-service",
      "free-declared-path",
    ]);
    expect(config.receivers).toEqual([]);
  });

  it("refuses unknown keys, doubled names and other protocols in the configuration", () => {
    const receiver = { name: "ops", kind: "webhook", url: "ftp://example.org" };
    const wrong = RemediationConfig.safeParse({ bugdets: {}, receivers: [receiver] });
    expect(wrong.error?.issues.map(({ path }) => path.join("."))).toEqual(["receivers.0.url", ""]);
    const doubled = { ...receiver, url: "https://example.org" };
    expect(RemediationConfig.safeParse({ receivers: [doubled, doubled] }).error?.issues[0]?.path).toEqual([
      "receivers",
      1,
      "name",
    ]);
  });
});

describe("choosing a runbook", () => {
  const { runbooks } = RemediationConfig.parse({});
  const choose = (changes: Parameters<typeof someFinding>[0]) =>
    chooseRunbook(runbooks, [someFinding(changes)])?.runbook.name ?? null;

  it.for([
    ["a service that is down", {}, "restart-crashed-service"],
    ["a burst of errors", { detector: "log_templates", labels: {} }, "restart-erroring-service"],
    ["a new kind of error, told for information", { detector: "log_templates", labels: {}, severity: "info" }, null],
    [
      "a declared path",
      { entity: { host: "a", path: "dumps" }, labels: { metric: "homeostat.path.utilization", "path.name": "dumps" } },
      "free-declared-path",
    ],
    [
      "a mount point, which nobody declared",
      { entity: { host: "a", path: "/" }, labels: { metric: "system.filesystem.utilization", mountpoint: "/" } },
      null,
    ],
    ["trouble of the observer", { category: "data_health" }, null],
    ["a host alone", { entity: { host: "a" } }, null],
  ] as const)("%s", ([, changes, name]) => {
    expect(choose(changes)).toBe(name);
  });

  it("matches as the same pattern does as a regular expression", () => {
    const letters = fc.array(fc.constantFrom("a", "b", "*"), { maxLength: 8 }).map((all) => all.join(""));
    fc.assert(
      fc.property(letters, letters, (pattern, text) => {
        const regex = new RegExp(
          `^${pattern
            .split("*")
            .map((part) => part.replace(/[^ab]/g, "\\$&"))
            .join(".*")}$`,
        );
        expect(matchesPattern(pattern, text)).toBe(regex.test(text));
      }),
      { numRuns: 2000 },
    );
  });

  it("fills in a value once: what a finding says is never read as a placeholder", () => {
    expect(fillIn({ a: ["{{labels.x}}"] }, { "labels.x": "{{entity.host}}", "entity.host": "h" })).toEqual({
      a: ["{{entity.host}}"],
    });
    expect(() => fillIn("{{labels.constructor}}", {})).toThrow("no labels.constructor");
    expect(Runbook.safeParse({ ...good, params: { service: "{{constructor}}" } }).success).toBe(false);
  });
});
