import { generateKeyPairSync } from "node:crypto";
import { type Dispatch, dispatchOf, type Job, JobRequest, type Risk } from "@homeostat/schemas";
import { describe, expect, it } from "vitest";
import { resultOf } from "../../host/executor/command-result.ts";
import { JobBook } from "./job-book.ts";

const jobOf = (job_id: string, changes: Partial<Job> = {}): Job => ({
  job_id,
  request: JobRequest.parse({ executor: "service.restart", targets: { labels: "*" } }),
  requested_by: "ann",
  risk: "reversible",
  state: "running",
  hosts: ["h0"],
  sites: { fra: { targeted: 2, of: 10 } },
  approvals: [],
  created_at_unix_ms: 1,
  not_after_unix_ms: 2,
  ended_at_unix_ms: null,
  counts: {},
  message: "",
  ...changes,
});

const begun = (book: JobBook, job: Job) => {
  const run = book.add(job);
  book.began(job.job_id, { commands: 0, results: 0 });
  return run;
};
const targeted = (book: JobBook, job: Job): number | undefined => book.sitesOf(job).fra?.targeted;

describe("how much of a site is touched", () => {
  it("counts all jobs that run at the same time, and not those that are over", () => {
    const book = new JobBook();
    const [one, two] = [jobOf("one"), jobOf("two")];
    const run = begun(book, one);
    expect(targeted(book, one)).toBe(2);
    begun(book, two);
    expect([targeted(book, one), targeted(book, two)]).toEqual([4, 4]);
    run.written({ ...one, state: "succeeded" });
    book.ended(run);
    expect(targeted(book, two)).toBe(2);
  });

  it("many small jobs come to as much as one large one, and never to more than the site", () => {
    const book = new JobBook();
    const jobs = Array.from({ length: 9 }, (_, n) => jobOf(`j${n}`, { sites: { fra: { targeted: 1, of: 6 } } }));
    for (const job of jobs.slice(0, 4)) begun(book, job);
    expect(targeted(book, jobs[3] ?? jobOf("none"))).toBe(4);
    for (const job of jobs.slice(4)) begun(book, job);
    expect(targeted(book, jobs[8] ?? jobOf("none"))).toBe(6);
  });

  it("what only looks at hosts, or still awaits approval, counts for no other job", () => {
    const book = new JobBook();
    begun(book, jobOf("looks", { risk: "read_only", sites: { fra: { targeted: 10, of: 10 } } }));
    book.add(jobOf("waits", { state: "awaiting_approval" }));
    const job = jobOf("one");
    begun(book, job);
    expect(targeted(book, job)).toBe(2);
  });

  it("commands of remediation count, until their end is heard, and those that only look do not", () => {
    const book = new JobBook();
    const job = jobOf("one");
    begun(book, job);
    const dispatch = (command_id: string, host: string, risk: Risk): Dispatch =>
      dispatchOf(
        {
          command_id,
          job_id: "run",
          requested_by: "remediation/x",
          executor: "service.restart",
          risk,
          targets: { sites: { fra: { targeted: 1, of: 10 } } },
          approvals: [],
          issued_at_unix_ms: 1,
          not_after_unix_ms: 2,
          timeout_ms: 1,
          output_bytes_max: 0,
          limits: {},
        },
        { args: {}, hosts: [host], privateKey: generateKeyPairSync("ed25519").privateKey },
      );
    book.others.began(dispatch("run:1", "h7", "reversible"));
    book.others.began(dispatch("run:2", "h7", "reversible"));
    book.others.began(dispatch("run:3", "h8", "read_only"));
    book.others.began(dispatch("run:4", "h9", "destructive"));
    expect([targeted(book, job), book.changingAt("fra")]).toEqual([4, 2]);
    for (const [command_id, host] of [
      ["run:1", "h7"],
      ["run:4", "h9"],
    ] as const)
      book.heard({ ...resultOf({ commandId: command_id, host, executor: "" }, "succeeded", { message: "" }) }, 3);
    expect(targeted(book, job)).toBe(3);
  });
});
