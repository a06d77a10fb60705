import { describe, expect, test } from "vitest";
import { ErrorCount } from "./error-count.ts";

describe("troubles are counted", () => {
  const countsOf = (errors: ErrorCount) => Object.fromEntries([...errors.counts()].filter(([, count]) => count > 0));

  test("once while they last, whatever numbers they tell, and again when they come back", () => {
    const errors = new ErrorCount();
    errors.observe(["the channel: down for 1 s"]);
    errors.observe(["the channel: down for 2 s"]);
    expect(countsOf(errors)).toEqual({ channel: 1 });
    errors.observe([]);
    errors.observe(["the channel: down for 1 s"]);
    expect(countsOf(errors)).toEqual({ channel: 2 });
  });

  test("as nothing before the first", () => {
    expect(countsOf(new ErrorCount())).toEqual({});
  });
});
