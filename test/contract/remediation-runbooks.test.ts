import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { loadRunbooks, RemediationConfig } from "../../remediation/src/index.ts";

const dir = join(import.meta.dirname, "../../examples/runbooks");
const documents = readdirSync(dir)
  .filter((file) => file.endsWith(".yaml"))
  .map((source) => ({ source, value: parse(readFileSync(join(dir, source), "utf8")) as unknown }));

describe("the example runbooks", () => {
  it("load without a problem, each under the name of its file", () => {
    const { runbooks, problems } = loadRunbooks(documents);
    expect(problems).toEqual([]);
    expect(runbooks.map(({ name }) => `${name}.yaml`)).toEqual(documents.map(({ source }) => source));
  });

  it("show the shipped ones as they are shipped", () => {
    const { runbooks } = loadRunbooks(documents);
    for (const shipped of RemediationConfig.parse({}).runbooks) expect(runbooks).toContainEqual(shipped);
  });
});
