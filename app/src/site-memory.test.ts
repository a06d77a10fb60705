import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { SITE_V8_ARGS, siteMemoryEnv } from "./site-memory.ts";

const site = { name: "eu-1" } as Parameters<typeof siteMemoryEnv>[0]["site"];

test("a process that is a site server and nothing else is begun again with small pages for its buffers, once", () => {
  const env = siteMemoryEnv({ parts: ["site"], site }, { PATH: "/bin" });
  expect(env).toEqual({ PATH: "/bin", MALLOC_MMAP_THRESHOLD_: "16384" });
  expect(siteMemoryEnv({ parts: ["site"], site }, env ?? {})).toBeNull();
});

test("V8 knows what it is told then", () => {
  const told = "process.stdout.write(process.execArgv.join())";
  const said = execFileSync(process.execPath, [...SITE_V8_ARGS, "--eval", told], { encoding: "utf8" });
  expect(said).toContain(SITE_V8_ARGS.join());
});

test("who compresses, or has set it, keeps what there is", () => {
  expect(siteMemoryEnv({ parts: ["site", "ingest"], site }, {})).toBeNull();
  expect(siteMemoryEnv({ parts: ["site"], site: undefined }, {})).toBeNull();
  expect(siteMemoryEnv({ parts: ["site"], site }, { MALLOC_MMAP_THRESHOLD_: "131072" })).toBeNull();
});
