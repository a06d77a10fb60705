import type { Job } from "@homeostat/schemas";
import { expect, onTestFinished, test, vi } from "vitest";
import type { JobHappening } from "./fleet-ports.ts";
import { jobStream } from "./job-stream.ts";

const job: Job = {
  job_id: "j1",
  request: {
    executor: "exec.run",
    args: {},
    targets: { labels: "*" },
    batch: { ramp: false, concurrency_max: 1, errors_max: 0 },
    timeout_ms: 1_000,
    expires_ms: 1_000,
    output_bytes_max: 0,
    limits: {},
    reason: "",
  },
  requested_by: "ann",
  risk: "read_only",
  state: "running",
  hosts: ["a"],
  sites: {},
  approvals: [],
  created_at_unix_ms: 0,
  not_after_unix_ms: 1_000,
  ended_at_unix_ms: null,
  counts: {},
  message: "",
};

test.each<{ last: JobHappening }>([
  { last: { type: "end", job: { ...job, state: "succeeded" } } },
  { last: { type: "left", message: "another control plane leads" } },
])("a job's stream ends with the line $last.type, whole", async ({ last }) => {
  let tell: (happening: JobHappening) => void = () => undefined;
  let isFollowed = true;
  const stream = jobStream("j1", {
    job: () => ({ job, invocations: [] }),
    follow: (_id, listener) => {
      tell = listener;
      listener({ type: "job", job });
      return () => {
        isFollowed = false;
      };
    },
    now: () => 0,
  });
  tell(last);
  const text: string[] = [];
  for await (const chunk of stream ?? []) text.push(String(chunk));
  const types = text
    .join("")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line).type);
  expect(types).toEqual(["job", last.type]);
  expect(isFollowed).toBe(false);
});

test("a job's stream that is refused, since too many follow the job, leaves nothing behind that goes on", () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const follow = () => {
    throw new RangeError("100 follow the job j1 already");
  };
  expect(() => jobStream("j1", { job: () => ({ job, invocations: [] }), follow, now: () => 0 })).toThrow(RangeError);
  expect(vi.getTimerCount()).toBe(0);
});
