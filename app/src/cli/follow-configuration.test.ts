import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createReloadTexts, followConfiguration } from "./follow-configuration.ts";

const NONE = { added: [], changed: [], removed: [], unchanged: [], needs_restart: [] };
const REFUSED = { message: "refused", problems: ["x: unknown key (line 2)"] };

describe("what is said of readings of the configuration", () => {
  test("is every change of rules, also the same one twice", () => {
    const text = createReloadTexts();
    const changed = { ...NONE, changed: ["a", "b"], added: ["c"] };
    for (const _ of [1, 2]) expect(text(changed, false)).toBe("rules added: c; changed: a, b");
  });

  test("is a refusal once, and that it is over", () => {
    const text = createReloadTexts();
    const told = [REFUSED, REFUSED, NONE, NONE].map((answer) => text(answer, false));
    expect(told).toEqual([
      "refused\n  - x: unknown key (line 2)",
      "",
      "the configuration is in order again; the rules are the same",
      "",
    ]);
  });

  test("is what waits for a restart once, beside changes of rules", () => {
    const text = createReloadTexts();
    const waiting = { ...NONE, needs_restart: ["http"] };
    const restart = "changed, but only a restart takes it up: http";
    expect(text(waiting, false)).toBe(restart);
    expect(text({ ...waiting, added: ["a"] }, false)).toBe("rules added: a");
    expect(text(waiting, false)).toBe("");
  });

  test("is something whenever somebody asked", () => {
    const text = createReloadTexts();
    expect(text(NONE, true)).toContain("the same");
    for (const _ of [1, 2]) expect(text(REFUSED, true)).toContain("unknown key");
  });
});

describe("following the configuration's folders", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "homeostat-follow-"));
    mkdirSync(join(dir, "rules"));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  test("sees files in a folder that was replaced by another of its name, and in one that came later", async () => {
    let [readings, folders] = [0, [dir, join(dir, "rules")]];
    const reload = async () => {
      readings++;
      return NONE;
    };
    let hangup = (): void => undefined;
    const onHangup = (run: () => void): void => {
      hangup = run;
    };
    const stop = followConfiguration({ reload }, () => folders, { onHangup, err: () => undefined });
    const isRead = async (): Promise<void> => {
      const before = readings;
      await expect.poll(() => readings).toBeGreaterThan(before);
    };
    try {
      writeFileSync(join(dir, "rules", "a.yaml"), "");
      await isRead();
      rmSync(join(dir, "rules"), { recursive: true });
      mkdirSync(join(dir, "rules"));
      await isRead();
      writeFileSync(join(dir, "rules", "a.yaml"), "");
      await isRead();
      mkdirSync(join(dir, "rules", "more"));
      await isRead();
      folders = [dir, join(dir, "rules", "more")];
      hangup();
      await expect.poll(() => readings).toBe(5);
      writeFileSync(join(dir, "rules", "more", "a.yaml"), "");
      await isRead();
    } finally {
      stop();
    }
  });
});
