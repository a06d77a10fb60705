import { Finding } from "@homeostat/schemas";
import { describe, expect, test } from "vitest";
import { createDiskGuard } from "./disk-guard.ts";

const watch = async (freeShares: readonly number[]): Promise<readonly Finding[]> => {
  const told: Finding[] = [];
  let minute = 0;
  const guard = createDiskGuard({
    host: "h1",
    dataDir: "/data",
    now: () => 1_700_000_000_000 + minute * 60_000,
    readSpace: async () => ({ freeBytes: (freeShares[minute] ?? 1) * 1000, totalBytes: 1000 }),
    publish: async (finding) => void told.push(Finding.parse(finding)),
  });
  for (; minute < freeShares.length; minute += 1) await guard.check();
  return told;
};

describe("the disk guard", () => {
  test.each([
    { name: "says nothing while there is room", free: [0.5, 0.2, 0.09], states: [] },
    { name: "fires each minute while the disk is nearly full", free: [0.5, 0.05, 0.04], states: ["firing", "firing"] },
    {
      name: "does not flap between its thresholds",
      free: [0.05, 0.1, 0.07, 0.1],
      states: ["firing", "firing", "firing", "firing"],
    },
    { name: "takes it back when there is room again", free: [0.05, 0.3, 0.3], states: ["firing", "resolved"] },
  ])("$name", async ({ free, states }) => {
    expect((await watch(free)).map(({ state }) => state)).toEqual(states);
  });

  test("keeps one episode's identity and begins a new one afterwards", async () => {
    const ids = (await watch([0.05, 0.04, 0.3, 0.05])).map(({ finding_id }) => finding_id);
    expect(ids.slice(0, 3)).toEqual(Array(3).fill(ids[0]));
    expect(ids[3]).not.toBe(ids[0]);
  });
});
