/**
 * `count-tests.ts <report.json>…` adds up vitest's JSON reports and ends with `N passed, N failed`.
 * It fails when something failed, when a report is missing, and when a report has no test in it.
 */
import { existsSync, readFileSync } from "node:fs";

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string }[];
  }[];
}

/** A file that failed before or outside its tests has no failed test to show for it; it counts as one. */
const brokenFiles = ({ testResults }: Report): number =>
  testResults.filter(
    ({ status, assertionResults }) =>
      status === "failed" && !assertionResults.some((assertion) => assertion.status === "failed"),
  ).length;

let passed = 0;
let failed = 0;
let skipped = 0;
for (const path of process.argv.slice(2)) {
  if (!existsSync(path)) {
    console.log(`no report at ${path}: that run ended before its tests`);
    failed += 1;
    continue;
  }
  const report: Report = JSON.parse(readFileSync(path, "utf8"));
  if (report.numPassedTests + report.numFailedTests === 0) {
    console.log(`${path}: no test ran`);
    failed += 1;
  }
  passed += report.numPassedTests;
  failed += report.numFailedTests + brokenFiles(report);
  skipped += report.numPendingTests;
}
if (skipped > 0) console.log(`${skipped} skipped`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
