import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { residentCommand } from "../standalone/resident-command.ts";

const SWEEP = new URL("./sweep.ts", import.meta.url).href;

/** In a process of its own, started as the resident one is; two turns of the young generation make what it holds old before it dies. */
const HOLDER = `
import { createSweep } from ${JSON.stringify(SWEEP)};
const sweep = createSweep();
let held = { bytes: Buffer.alloc(100_000) };
const seen = new WeakRef(held.bytes);
gc({ type: "minor" });
gc({ type: "minor" });
sweep.observe(Number(process.argv[1]));
held = null;
await new Promise((resolve) => setTimeout(resolve, 1));
sweep.observe(Number(process.argv[2]));
await new Promise((resolve) => setTimeout(resolve, 1));
process.stdout.write(seen.deref() === undefined ? "gone" : "held");
`;

const afterSweepsAt = (firstMs: number, secondMs: number): string => {
  const [, ...flags] = residentCommand("main.js").slice(0, -1);
  const args = ["--input-type=module", "-e", HOLDER, String(firstMs), String(secondMs)];
  return execFileSync(process.execPath, [...flags, ...args], { encoding: "utf8" });
};

test("what died old is given back soon after the start, without waiting for V8", () => {
  expect(afterSweepsAt(1_000_000, 1_010_000)).toBe("gone");
});

test("the memory is not looked through at each observation", () => {
  expect(afterSweepsAt(1_000_000, 1_001_000)).toBe("held");
});
