import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OptionsError, readOptions } from "@homeostat/app";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

describe("the example configuration", () => {
  it("is accepted as it stands, runbook files included", () => {
    const { agent, remediation } = readOptions("examples/homeostat.yaml");
    expect(agent.services.map(({ name }) => name)).toEqual(["nginx", "shop"]);
    expect(remediation.runbooks.map(({ name }) => name)).toEqual([
      "drain-busy-host",
      "restart-crashed-service",
      "restart-erroring-service",
      "free-declared-path",
    ]);
  });
});

describe("a runbook file", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "homeostat-runbooks-"));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  const problemsWith = (files: Readonly<Record<string, string>>): readonly string[] => {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
    const config = join(dir, "homeostat.yaml");
    writeFileSync(config, `runbook_files: [${["missing.yaml", ...Object.keys(files)].join(", ")}]\n`);
    try {
      readOptions(config);
    } catch (error) {
      if (error instanceof OptionsError) return error.problems;
      throw error;
    }
    return [];
  };

  it("that is missing, broken or wrong is refused with all others, each with its place", () => {
    const problems = problemsWith({
      "broken.yaml": "a: [",
      "wrong.yaml": "name: Not A Name\nactoin: restart_service\n",
    });
    const text = problems.join("\n");
    for (const part of ["missing.yaml", "broken.yaml: Flow sequence", "wrong.yaml: name", "wrong.yaml"])
      expect(text).toContain(part);
  });
});
