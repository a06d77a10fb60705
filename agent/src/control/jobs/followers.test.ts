import { expect, it } from "vitest";
import type { JobEvent } from "../views.ts";
import { Followers } from "./followers.ts";

const ignore = () => undefined;
const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
const output = (sequence: number, data = "YQ=="): JobEvent => ({
  type: "output",
  host: "web-1",
  command_id: "j.0",
  stream: "stdout",
  sequence,
  data,
});

it("tells the first follower what was said before it came, once", () => {
  const followers = new Followers(log);
  const heard: JobEvent[] = [];
  followers.tell("j", output(0));
  followers.tell("j", output(1));
  followers.add("j", (event) => heard.push(event));
  followers.tell("j", output(2));
  expect(heard).toEqual([output(0), output(1), output(2)]);
  const later: JobEvent[] = [];
  followers.add("j", (event) => later.push(event));
  expect(later).toEqual([]);
});

it("keeps no more of it than its cap, and lets go of the oldest job first", () => {
  const followers = new Followers(log);
  const large = "a".repeat(600_000);
  followers.tell("old", output(0, large));
  followers.tell("new", output(0, large));
  const heard: string[] = [];
  followers.add("old", () => heard.push("old"));
  followers.add("new", () => heard.push("new"));
  expect(heard).toEqual(["new"]);
});
