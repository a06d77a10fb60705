import { describe, expect, it } from "vitest";
import { RemediationConfig } from "../config.ts";
import { openIncident } from "../incident/incident.ts";
import { START, someFinding } from "../testing/pure-engine.ts";
import { afterAttempt, backoffMs, headsOfLine, pendingNotifications } from "./outbox.ts";

const config = RemediationConfig.parse({
  receivers: [
    { name: "ops", kind: "webhook", url: "https://example.org/hook" },
    { name: "log", kind: "webhook", url: "https://example.org/log", events: ["closed"] },
  ],
});
const incident = { ...openIncident("i1", someFinding(), START), version: 1 };
const failure = { ok: false, isFinal: false, error: "503", retryAfterMs: null } as const;

describe("the outbox", () => {
  it("holds one delivery for each receiver that wants the event, with an id that stays", () => {
    const once = pendingNotifications("opened", incident, config, START);
    expect(once.map(({ delivery_id, state }) => [delivery_id, state])).toEqual([["i1.1.ops", "pending"]]);
    expect(pendingNotifications("opened", incident, config, START)).toEqual(once);
    expect(pendingNotifications("noted", incident, config, START)).toEqual([]);
  });

  it("tries again after a time that doubles up to its cap, half of it jitter", () => {
    for (let attempt = 1; attempt < 40; attempt += 1) {
      const full = Math.min(300_000, 1000 * 2 ** (attempt - 1));
      const wait = backoffMs("i1.1.ops", attempt, config.notify);
      expect(wait).toBeGreaterThanOrEqual(full / 2);
      expect(wait).toBeLessThanOrEqual(full);
    }
    expect(backoffMs("i1.1.ops", 9, config.notify)).not.toBe(backoffMs("i2.1.ops", 9, config.notify));
  });

  it("gives up after so many attempts, after a day, and at once when trying again is useless", () => {
    const [pending] = pendingNotifications("opened", incident, config, START);
    if (pending === undefined) throw new Error("nothing pending");
    expect(afterAttempt(pending, failure, config.notify, START)).toMatchObject({
      state: "pending",
      attempts: 1,
      last_error: "503",
    });
    expect(afterAttempt({ ...pending, attempts: 19 }, failure, config.notify, START)).toMatchObject({
      state: "dead",
      attempts: 20,
    });
    expect(afterAttempt(pending, failure, config.notify, START + 86_400_000).state).toBe("dead");
    expect(afterAttempt(pending, { ...failure, isFinal: true }, config.notify, START).state).toBe("dead");
    const asked = afterAttempt(pending, { ...failure, retryAfterMs: 60_000 }, config.notify, START);
    expect(asked.next_attempt_at_unix_ms).toBe(START + 60_000);
  });

  it("lets no later word overtake an earlier one to the same receiver", () => {
    const first = pendingNotifications("opened", incident, config, START);
    const second = pendingNotifications("resolved", { ...incident, version: 2 }, config, START + 1);
    expect(headsOfLine([...second, ...first])).toEqual(first);
    expect(headsOfLine([...second, ...first.map((one) => ({ ...one, state: "dead" as const }))])).toEqual(second);
  });
});
