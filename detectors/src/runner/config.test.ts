import { describe, expect, test } from "vitest";
import { DEFAULT_RULES } from "../default-rules.ts";
import { DetectorsConfig, Rule, rulesOf } from "./config.ts";

const service = { detector: "threshold", title: "t", metric: "m", op: ">", value: 1 } as const;

describe("the detectors' configuration", () => {
  test("has the default rules when it is empty, and each of them is valid and named once", () => {
    expect(rulesOf(DetectorsConfig.parse({}))).toEqual(DEFAULT_RULES);
    expect(DEFAULT_RULES.map((rule) => Rule.parse(rule))).toEqual(DEFAULT_RULES);
    expect(new Set(DEFAULT_RULES.map(({ name }) => name)).size).toBe(DEFAULT_RULES.length);
  });

  test("lets a rule take a default's place, and leaves out what is disabled", () => {
    const config = DetectorsConfig.parse({
      rules: [{ ...service, name: "service-down" }],
      disabled_rules: ["host-silent"],
    });
    const rules = rulesOf(config);
    expect(rules).toHaveLength(DEFAULT_RULES.length - 1);
    expect(rules.find(({ name }) => name === "service-down")).toMatchObject({ metric: "m" });
    expect(rules.some(({ name }) => name === "host-silent")).toBe(false);
  });

  test.each([
    { name: "an unknown key", config: { rulez: [] }, path: "" },
    {
      name: "an unknown detector",
      config: { rules: [{ ...service, name: "a", detector: "oracle" }] },
      path: "rules.0.detector",
    },
    {
      name: "a rule given twice",
      config: {
        rules: [
          { ...service, name: "a" },
          { ...service, name: "a" },
        ],
      },
      path: "rules.1.name",
    },
    {
      name: "a rule both given and disabled",
      config: { rules: [{ ...service, name: "host-silent" }], disabled_rules: ["host-silent"] },
      path: "rules.0.name",
    },
    { name: "a disabled rule that does not exist", config: { disabled_rules: ["nonsense"] }, path: "disabled_rules.0" },
  ])("refuses $name and says where", ({ config, path }) => {
    const parsed = DetectorsConfig.safeParse(config);
    expect(parsed.error?.issues.map((issue) => issue.path.join("."))).toContain(path);
  });
});
