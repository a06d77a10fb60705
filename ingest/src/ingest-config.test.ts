import { expect, it } from "vitest";
import { IngestConfig } from "./ingest-config.ts";

it("an empty configuration has the documented defaults", () => {
  expect(IngestConfig.parse({})).toEqual({ late_max_ms: 604_800_000, future_max_ms: 600_000, max_wait_ms: 1000 });
});

it("an unknown key is refused by name", () => {
  expect(() => IngestConfig.parse({ late_max: 5 })).toThrow(/late_max/);
});
