import type { RuleChanges } from "@homeostat/detectors";
import type { Log } from "@homeostat/schemas";
import { describe, expect, test } from "vitest";
import { OptionsError, parseOptions } from "./options.ts";
import { createReload } from "./reload.ts";

const nothing = () => undefined;
const silent: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
const NONE: RuleChanges = { added: [], changed: [], removed: [], unchanged: [] };

const platform = (first = "") => {
  let text = first;
  const applied: unknown[] = [];
  const options = parseOptions(first, "test");
  const reload = createReload({
    options,
    read: () => parseOptions(text, "test"),
    apply: async (detectors) => {
      applied.push(detectors.disabled_rules);
      return { ...NONE, removed: [...detectors.disabled_rules] };
    },
    log: silent,
  });
  return {
    reload,
    applied,
    write: (next: string): void => {
      text = next;
    },
  };
};

const DISABLED = "detectors: { disabled_rules: [host-silent] }";

describe("reading the configuration again", () => {
  test("puts other rules to work, and does nothing when they are the same", async () => {
    const { reload, applied, write } = platform();
    expect(await reload.run()).toEqual({ ...NONE, needs_restart: [] });
    write(DISABLED);
    expect(await reload.run()).toMatchObject({ removed: ["host-silent"] });
    await reload.run();
    expect(applied).toEqual([["host-silent"]]);
  });

  test("leaves the old rules at work when the new ones are refused, says why, and forgets it once they are right", async () => {
    const { reload, applied, write } = platform();
    write("detectors: { disabled_rules: [nonsense] }");
    const refused = await reload.run();
    expect(refused).toMatchObject({
      problems: [expect.stringContaining("detectors.disabled_rules[0]: no default rule")],
    });
    expect(reload.problem()).toContain("detectors.disabled_rules[0]");
    expect(applied).toEqual([]);
    write(DISABLED);
    await reload.run();
    expect(reload.problem()).toBeNull();
    expect(applied).toEqual([["host-silent"]]);
  });

  test("says what only a restart takes up", async () => {
    const { reload, write } = platform();
    write("http: { port: 1 }\nlog_level: debug");
    expect(await reload.run()).toMatchObject({ needs_restart: ["http", "log_level"], removed: [] });
  });

  test("takes up another folder of rules without a restart", async () => {
    const { reload, write } = platform();
    write("rules_dir: rules");
    expect(await reload.run()).toMatchObject({ needs_restart: [] });
  });

  test("takes a file that vanished for a refusal", async () => {
    const options = parseOptions("", "test");
    const read = () => {
      throw new Error("ENOENT");
    };
    const reload = createReload({ options, read, apply: async () => NONE, log: silent });
    expect(await reload.run()).toMatchObject({ problems: [expect.stringContaining("ENOENT")] });
    expect(() => {
      throw new OptionsError("x", []);
    }).toThrow("x was refused");
  });
});
