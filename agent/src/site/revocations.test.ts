import { describe, expect, test } from "vitest";
import { Revocations } from "./revocations.ts";

const peer = (name: string, serial: string) => ({ name, serial });

describe("what is revoked at a site", () => {
  test("is not known before the first list is whole", () => {
    const revocations = new Revocations();
    expect(revocations.add({ is_last: false, serials: ["01"], hosts: [] })).toBe("part");
    expect(revocations.isKnown).toBe(false);
    expect(revocations.has(peer("a", "01"))).toBe(false);
    expect(revocations.add({ is_last: true, serials: [], hosts: ["b"] })).toBe("whole");
    expect(revocations.isKnown).toBe(true);
    expect(revocations.has(peer("a", "01"))).toBe(true);
    expect(revocations.has(peer("b", "02"))).toBe(true);
    expect(revocations.has(peer("c", "02"))).toBe(false);
  });

  test("stays as it was while the next list is on its way, and a list that was cut off is forgotten", () => {
    const revocations = new Revocations();
    revocations.add({ is_last: true, serials: ["01"], hosts: [] });
    revocations.add({ is_last: false, serials: ["02"], hosts: [] });
    expect(revocations.has(peer("a", "01"))).toBe(true);
    expect(revocations.has(peer("a", "02"))).toBe(false);
    revocations.restart();
    revocations.add({ is_last: true, serials: ["03"], hosts: [] });
    expect([1, 2, 3].map((serial) => revocations.has(peer("a", `0${serial}`)))).toEqual([false, false, true]);
  });
});
