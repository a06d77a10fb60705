/** `npm run check`: every check runs, also after a failure; each says one line, and what is wrong comes at the end. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { performance } from "node:perf_hooks";

interface Check {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
}

interface Result {
  readonly check: Check;
  readonly exitCode: number | null;
  readonly output: string;
  readonly seconds: number;
}

const FOLDERS = [
  "schemas",
  "agent",
  "ingest",
  "analytics",
  "detectors",
  "remediation",
  "app",
  "test",
  "bench",
  "docs",
  "examples",
];

const CHECKS: readonly Check[] = [
  { name: "format and lint", command: ["biome", "check", "--error-on-warnings", "."] },
  { name: "types", command: ["tsc", "-p", "."] },
  { name: "boundaries", command: ["depcruise", "--config", ".dependency-cruiser.cjs", ...FOLDERS.filter(existsSync)] },
  { name: "unused", command: ["knip", "--no-config-hints"] },
  { name: "docs match code", command: ["node", "docs/generate.ts", "--check"] },
];

const run = (check: Check): Promise<Result> =>
  new Promise((resolve) => {
    const [program, ...args] = check.command;
    const startedAtMs = performance.now();
    const chunks: Buffer[] = [];
    const end = (exitCode: number | null) =>
      resolve({
        check,
        exitCode,
        output: Buffer.concat(chunks).toString("utf8").trim(),
        seconds: (performance.now() - startedAtMs) / 1000,
      });
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.on("error", (error) => {
      chunks.push(Buffer.from(`cannot run ${program}: ${error.message} (npm ci first, then npm run check)`));
      end(null);
    });
    child.on("close", end);
  });

const failures: Result[] = [];
for (const check of CHECKS) {
  const result = await run(check);
  console.log(`${check.name.padEnd(18)}${result.exitCode === 0 ? "fine" : "FAILED"}  ${result.seconds.toFixed(1)} s`);
  if (result.exitCode !== 0) failures.push(result);
}
for (const { check, output } of failures) console.log(`\n── ${check.name}: ${check.command.join(" ")}\n${output}`);
console.log(
  failures.length === 0
    ? "check: all fine"
    : `\ncheck: ${failures.length} of ${CHECKS.length} failed: ${failures.map(({ check }) => check.name).join(", ")}`,
);
process.exitCode = failures.length === 0 ? 0 : 1;
