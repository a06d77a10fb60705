import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { UsageError } from "./verb.ts";
import { dataDirOf } from "./where-data-is.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "where-data-is-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const configured = (text: string): void => writeFileSync(join(folder, "homeostat.yaml"), text);

describe("where a verb looks for the platform of this machine", () => {
  it("is where it is told to, whatever the configuration says", () => {
    configured("data_dir: /var/lib/homeostat");
    expect(dataDirOf("/elsewhere", folder)).toBe("/elsewhere");
  });

  it.each([
    { text: "data_dir: /var/lib/homeostat\nhttp: { port: 7070 }", dir: "/var/lib/homeostat" },
    { text: '{"data_dir": "data"}', dir: "data" },
    { text: "http: { port: 7070 }", dir: ".homeostat" },
    { text: "", dir: ".homeostat" },
    { text: "data_dir: there\nno_such_key: 1", dir: "there" },
  ])("is $dir when ./homeostat.yaml says $text", ({ text, dir }) => {
    configured(text);
    expect(dataDirOf(undefined, folder)).toBe(dir);
  });

  it("is the default without a configuration", () => {
    expect(dataDirOf(undefined, folder)).toBe(".homeostat");
  });

  it.each(["data_dir: [", "data_dir: 7", "data_dir: ''"])("is not guessed at when the configuration is %s", (text) => {
    configured(text);
    expect(() => dataDirOf(undefined, folder)).toThrow(UsageError);
    expect(() => dataDirOf(undefined, folder)).toThrow("--data-dir");
  });
});
