import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BacktestFlags, backtestVerb } from "./backtest.ts";
import { UsageError } from "./verb.ts";

describe("homeostat backtest", () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), "homeostat-backtest-verb-"));
    writeFileSync(join(dir, "homeostat.yaml"), `data_dir: ${join(dir, "data")}\n`);
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  const failure = (flags: Partial<BacktestFlags>): Promise<unknown> => {
    const input = {
      args: [],
      env: {},
      signal: new AbortController().signal,
      onHangup: () => undefined,
      out: () => undefined,
      err: () => undefined,
    };
    const asked = { rule: "cpu-unusual", since: "1h", config: join(dir, "homeostat.yaml"), json: false, ...flags };
    return backtestVerb(input, asked).then(
      () => null,
      (error: unknown) => error,
    );
  };

  test.each([
    { flags: { since: "soon" }, says: "--since soon: want a number and a unit" },
    { flags: { since: "0d" }, says: "--since 0d is no time at all" },
    { flags: { since: "999999w" }, says: "--since 999999w: want at most 400d" },
    { flags: { since: "1h", until: "2h" }, says: "--until 2h is not after --since 1h" },
    { flags: { rule: "nonsense" }, says: "no rule nonsense; there are: service-down, " },
  ])("is called wrongly with $flags", async ({ flags, says }) => {
    const error = await failure(flags);
    expect(error).toBeInstanceOf(UsageError);
    expect(String(error)).toContain(says);
  });

  test("says how to start a platform where none runs", async () => {
    expect(String(await failure({}))).toMatch(/no platform with an embedded store runs on .*data \(start one with/);
  });
});
