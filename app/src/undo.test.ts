import { describe, expect, test } from "vitest";
import { Undo } from "./undo.ts";

describe("undoing", () => {
  test("runs last-first, goes on when a step fails, and tells which", async () => {
    const done: string[] = [];
    const failed: string[] = [];
    const undo = new Undo();
    undo.add("first", () => void done.push("first"));
    undo.add("second", () => Promise.reject(new Error("stuck")));
    undo.add("third", async () => void done.push("third"));
    await undo.run((name) => void failed.push(name));
    expect({ done, failed }).toEqual({ done: ["third", "first"], failed: ["second"] });
  });

  test("happens once, however often it is asked for", async () => {
    let count = 0;
    const undo = new Undo();
    undo.add("only", () => {
      count += 1;
    });
    await Promise.all([undo.run(() => undefined), undo.run(() => undefined)]);
    expect(count).toBe(1);
  });
});
