import { expect, test } from "vitest";
import { addToDailyProfile, makeDailyProfile, turnDailyProfile, usualAt } from "./daily-profile.ts";

const TEN_MINUTES_MS = 600_000;
const DAY_SLOTS = 144;
const DAY_MS = DAY_SLOTS * TEN_MINUTES_MS;

const learnDays = (days: readonly ((slot: number) => number)[], stepMax: number) => {
  const profile = makeDailyProfile(1);
  days.forEach((levelAt, day) => {
    for (let slot = 0; slot < DAY_SLOTS; slot++) {
      turnDailyProfile(profile, day * DAY_MS + slot * TEN_MINUTES_MS, () => stepMax);
      addToDailyProfile(profile, 0, levelAt(slot));
    }
  });
  turnDailyProfile(profile, days.length * DAY_MS, () => stepMax);
  return (slot: number): number => usualAt(profile, 0, (days.length * DAY_SLOTS + slot + 0.5) * TEN_MINUTES_MS);
};

test("a time of the day that has not been seen is not known", () => {
  expect(usualAt(makeDailyProfile(1), 0, 0)).toBeNaN();
});

test("after a day the same times are known", () => {
  const usual = learnDays([(slot) => slot], 1);
  expect([usual(0), usual(70), usual(143)]).toEqual([0, 70, 143]);
});

test("between two slots the level is between theirs", () => {
  const profile = makeDailyProfile(1);
  for (let slot = 0; slot <= DAY_SLOTS; slot++) {
    turnDailyProfile(profile, slot * TEN_MINUTES_MS, () => 1);
    addToDailyProfile(profile, 0, slot);
  }
  expect(usualAt(profile, 0, 71 * TEN_MINUTES_MS)).toBeCloseTo(70.5);
});

test("one bad day is not believed", () => {
  const quiet = new Array(6).fill(() => 10);
  expect(learnDays([...quiet, () => 1000], 2)(50)).toBeLessThan(10.5);
});

test("a new level is believed after some weeks", () => {
  const days = [...new Array(6).fill(() => 10), ...new Array(40).fill(() => 14)];
  expect(learnDays(days, 2)(50)).toBeGreaterThan(13.9);
});

test("a time before 1970 has its place in the day", () => {
  const profile = makeDailyProfile(1);
  turnDailyProfile(profile, -TEN_MINUTES_MS, () => 1);
  expect(profile.slot).toBe(DAY_SLOTS - 1);
});
