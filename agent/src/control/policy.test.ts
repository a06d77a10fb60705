import { type Job, JobRequest, type Risk } from "@homeostat/schemas";
import { describe, expect, it } from "vitest";
import { PolicyConfig } from "./control-config.ts";
import { mayApprove, mayStop, maySubmit, planOf, RequestRate, tooLarge, wavesOf } from "./policy.ts";
import type { Candidates } from "./targets.ts";
import type { Principal, Role } from "./views.ts";

const config = PolicyConfig.parse({});
const who = (name: string, ...roles: Role[]): Principal => ({ name, roles });
const request = (changes: object = {}): JobRequest =>
  JobRequest.parse({ executor: "exec.run", targets: { labels: "*" }, ...changes });
const agents: Candidates = {
  size: 2,
  get: () => undefined,
  values: () => ["a", "b"].map((host) => ({ host, site: "dc1", labels: {}, mayRun: true })),
  siteSize: () => 2,
};
/** What plugins declare: a risk of their own, and one that is not theirs to say. */
const declared = new Map<string, Risk>([
  ["queue.oldest", "read_only"],
  ["files.free", "read_only"],
]);
const published = (executor: string): Risk | null => declared.get(executor) ?? null;
const job = (changes: Partial<Job> = {}): Job => ({
  job_id: "j",
  request: request(),
  requested_by: "ann",
  risk: "destructive",
  state: "awaiting_approval",
  hosts: ["a"],
  sites: {},
  approvals: [],
  created_at_unix_ms: 0,
  not_after_unix_ms: 0,
  ended_at_unix_ms: null,
  counts: {},
  message: "",
  ...changes,
});

describe("who may ask", () => {
  it.each([
    { executor: "service.restart", by: who("v", "viewer"), may: false },
    { executor: "service.restart", by: who("a", "approver"), may: false },
    { executor: "service.restart", by: who("s", "shell"), may: false },
    { executor: "service.restart", by: who("o", "operator"), may: true },
    { executor: "service.restart", by: who("a", "admin"), may: true },
    { executor: "service.restart", by: who("n"), may: false },
    { executor: "shell.open", by: who("o", "operator"), may: false },
    { executor: "shell.open", by: who("s", "shell"), may: true },
    { executor: "constructor", by: who("o", "operator"), may: true },
    { executor: "constructor", by: who("v", "viewer"), may: false },
  ])("$by.roles for $executor: $may", ({ executor, by, may }) => {
    expect(maySubmit(executor, by, config) === null).toBe(may);
  });
});

describe("how much is asked", () => {
  it.each([
    { executor: "exec.run", risk: undefined, says: "reversible", approvals: 0 },
    { executor: "files.free", risk: undefined, says: "destructive", approvals: 1 },
    { executor: "files.free", risk: "read_only", says: "destructive", approvals: 1 },
    { executor: "exec.run", risk: "destructive", says: "destructive", approvals: 1 },
    { executor: "a.plugin", risk: undefined, says: "destructive", approvals: 1 },
    { executor: "queue.oldest", risk: undefined, says: "read_only", approvals: 0 },
    { executor: "shell.open", risk: undefined, says: "destructive", approvals: 1 },
    // What every object has is nobody's setting.
    { executor: "constructor", risk: undefined, says: "destructive", approvals: 1 },
    { executor: "toString", risk: "read_only", says: "destructive", approvals: 1 },
    { executor: "__proto__", risk: undefined, says: "destructive", approvals: 1 },
  ])("$executor asked as $risk is $says and takes $approvals approvals", ({ executor, risk, says, approvals }) => {
    const plan = planOf(request({ executor, risk }), who("root", "admin"), { agents, config, published });
    expect(plan).toMatchObject({ risk: says, needs_approval: approvals });
  });

  it("is what the configuration says, which is stronger", () => {
    const own = PolicyConfig.parse({ risks: { "files.free": "reversible" }, approvals_of: { "exec.run": 2 } });
    const by = who("root", "admin");
    expect(planOf(request({ executor: "files.free" }), by, { agents, config: own, published })).toMatchObject({
      needs_approval: 0,
    });
    expect(planOf(request(), by, { agents, config: own, published })).toMatchObject({ needs_approval: 2 });
  });

  it("has limits, each with its number", () => {
    const by = who("o", "operator");
    const small = PolicyConfig.parse({ hosts_per_job_max: 1 });
    expect(planOf(request(), by, { agents, config: small, published })).toMatchObject({
      refused: "over_limit",
      message: "2 hosts: a job has at most 1",
    });
    const long = request({ args: { name: "x".repeat(60_000) } });
    expect(planOf(long, by, { agents, config, published })).toMatchObject({
      refused: "invalid",
      message: expect.stringMatching(/args have 60011 bytes/),
    });
    const names = Array.from({ length: 20_000 }, (_, index) => `a-host-with-a-long-name-${index}`);
    expect(tooLarge(job({ hosts: names }))).toMatchObject({ message: expect.stringMatching(/choose them by labels/) });
    const sites = Object.fromEntries(names.slice(0, 2_000).map((name) => [name, { targeted: 1, of: 1 }]));
    expect(tooLarge(job({ sites }))).toMatchObject({ message: expect.stringMatching(/fewer sites/) });
    expect(tooLarge(job())).toBeNull();
  });

  it("is refused with arguments that cannot be signed", () => {
    const by = who("ann", "operator");
    for (const args of [{ name: "\ud800" }, { "\udfff": 1 }])
      expect(planOf(request({ args }), by, { agents, config, published })).toEqual({
        refused: "invalid",
        message: "args: a string with a lone surrogate has no canonical form",
      });
  });

  it("goes out in waves that sum up to it", () => {
    const waves = (hosts: number, batch: object) => wavesOf(request({ batch }), hosts);
    expect(waves(20, { concurrency_max: 4 })).toEqual([1, 2, 4, 13]);
    expect(waves(5, {})).toEqual([1, 2, 2]);
    expect(waves(5, { ramp: false })).toEqual([5]);
  });
});

describe("who may approve", () => {
  it.each([
    { by: who("bob", "approver"), job: job(), may: true },
    { by: who("root", "admin"), job: job(), may: true },
    { by: who("bob", "operator"), job: job(), may: false },
    { by: who("ann", "approver", "admin"), job: job(), may: false },
    { by: who(" ANN", "approver"), job: job(), may: false },
    { by: who("ａｎｎ", "approver"), job: job(), may: false },
    { by: who("bob", "approver"), job: job({ approvals: [{ by: "Bob", at_unix_ms: 1 }] }), may: false },
  ])("$by of what ann has asked: $may", ({ by, job: asked, may }) => {
    expect(mayApprove(asked, by) === null).toBe(may);
  });

  it("may stop too, and so may whoever has asked", () => {
    expect(mayStop(job(), who("ann"))).toBeNull();
    expect(mayStop(job(), who("o", "operator"))).toBeNull();
    expect(mayStop(job(), who("v", "viewer"))).toMatchObject({ refused: "not_allowed" });
  });
});

describe("the rate of requests", () => {
  it("is of each principal and each minute, and the first refusal stands out", () => {
    const rate = new RequestRate(2);
    const take = (name: string, at: number) => rate.take(name, at)?.isFirst ?? null;
    expect([take("a", 0), take("a", 1), take("a", 2), take("a", 3), take("b", 4)]).toEqual([
      null,
      null,
      true,
      false,
      null,
    ]);
    expect(take("a", 60_000)).toBeNull();
  });
});
