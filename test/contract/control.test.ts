import { describe, expect, it } from "vitest";
import { ann, bob, eve, type FakeAgent, type Member, until } from "../../agent/src/control/control-fleet.fixture.ts";
import { type CommandResult, dispatchOf, type Job, JobRequest } from "../../schemas/src/index.ts";
import { openWorld, resultOf, startWith, undo, type World } from "./control-world.ts";

const hostNames = (count: number): string[] => Array.from({ length: count }, (_, index) => `h${index}`);

const request = (changes: object = {}): JobRequest =>
  JobRequest.parse({ executor: "service.restart", args: { service: "shop" }, targets: { labels: "*" }, ...changes });

const jobOf = (value: object): Job => {
  if ("refused" in value) throw new Error(JSON.stringify(value));
  return value as Job;
};

const ended = async ({ control }: Member, id: string): Promise<Job> => {
  const isOver = (): boolean =>
    !["running", "stopping", "awaiting_approval"].includes(control.job(id)?.job.state ?? "running");
  await until(isOver);
  return jobOf(control.job(id)?.job ?? {});
};

const agentOf = ({ fleet }: World, host: string): FakeAgent => {
  const agent = fleet.agents.get(host);
  if (agent === undefined) throw new Error(`no agent ${host}`);
  return agent;
};

/** Acknowledgements wait a little for company. */
const acknowledged = async ({ fleet }: World): Promise<void> => {
  const isDone = () => [...fleet.agents.values()].every(({ unacknowledged }) => unacknowledged.size === 0);
  while (!isDone()) {
    await fleet.time.pass(1_000);
    await new Promise((resolve) => setImmediate(resolve));
  }
};

describe("a job", () => {
  it("runs on every host once, in waves, and is told with its outputs", async () => {
    const world = await openWorld();
    const member = await startWith(world, hostNames(10));
    const events: string[] = [];
    const job = jobOf(await member.control.submit(request(), ann));
    member.control.follow(job.job_id, ({ type }) => events.push(type));
    const done = await ended(member, job.job_id);
    expect(done).toMatchObject({ state: "succeeded", counts: { succeeded: 10 } });
    const view = member.control.job(job.job_id);
    expect(view?.invocations.map(({ state }) => state)).toEqual(Array(10).fill("succeeded"));
    expect(view?.invocations[0]?.result?.stdout).toMatch(/did it/);
    for (const agent of world.fleet.agents.values()) expect([...agent.runs.values()]).toEqual([1]);
    await acknowledged(world);
    expect(events[0]).toBe("job");
    expect(events.at(-1)).toBe("end");
    expect(events.filter((type) => type === "result")).toHaveLength(10);
    await until(() => world.results.length === 10);
    expect(await member.control.audit.verify()).toMatchObject({ ok: true, records: 2 });
  });

  it("stops sending when there are too many errors, lets what runs end, and counts both", async () => {
    const world = await openWorld();
    const member = await startWith(world, hostNames(16));
    for (const agent of world.fleet.agents.values()) agent.deed = () => "failed";
    const job = jobOf(await member.control.submit(request({ batch: { concurrency_max: 8, errors_max: 1 } }), ann));
    const done = await ended(member, job.job_id);
    expect(done).toMatchObject({ state: "failed", stop_cause: "errors", counts: { failed: 3, queued: 13 } });
    expect(done.message).toMatch(/3 errors, more than 1: 13 hosts/);
  });

  it("waits for another person's approval when it is destructive, and runs with it", async () => {
    const world = await openWorld();
    const member = await startWith(world, ["h0"]);
    const { control } = member;
    const job = jobOf(await control.submit(request({ executor: "files.free" }), bob));
    expect(job.state).toBe("awaiting_approval");
    expect(await control.approve(job.job_id, bob)).toMatchObject({ refused: "not_allowed" });
    expect(await control.approve(job.job_id, eve)).toMatchObject({ refused: "not_allowed" });
    expect(await control.approve(job.job_id, { name: " Bob", roles: ["approver"] })).toMatchObject({
      refused: "not_allowed",
    });
    const carl = { name: "carl", roles: ["approver"] } as const;
    expect(jobOf(await control.approve(job.job_id, carl)).approvals).toMatchObject([{ by: "carl" }]);
    expect(await ended(member, job.job_id)).toMatchObject({ state: "succeeded" });
    const [command] = agentOf(world, "h0").heard.filter(({ type }) => type === "command");
    expect(command).toMatchObject({
      command: { signed: { grant: { approvals: [{ by: "carl" }], risk: "destructive" } } },
    });
    const audited = (await control.audit.read(1, 100)).map(({ what, who }) => `${who} ${what}`);
    expect(audited).toEqual([
      "bob job.submitted",
      "bob job.approve.refused",
      "eve job.approve.refused",
      " Bob job.approve.refused",
      "carl job.approved",
      "control job.ended",
    ]);
  });

  it("that nobody approves in time is expired, and never ran", async () => {
    const world = await openWorld();
    const member = await startWith(world, ["h0"]);
    const job = jobOf(await member.control.submit(request({ executor: "files.free" }), ann));
    await world.fleet.time.pass(2 * 3_600_000);
    expect(await ended(member, job.job_id)).toMatchObject({ state: "expired", counts: { queued: 1 } });
    expect(agentOf(world, "h0").runs.size).toBe(0);
  });

  it("that is cancelled ends what runs, and what was not sent never begins", async () => {
    const world = await openWorld();
    const member = await startWith(world, hostNames(4));
    for (const agent of world.fleet.agents.values()) agent.deed = () => null;
    const job = jobOf(await member.control.submit(request({ batch: { ramp: false, concurrency_max: 2 } }), ann));
    await until(() => [...world.fleet.agents.values()].filter(({ runs }) => runs.size > 0).length === 2);
    await member.control.cancel(job.job_id, ann, "enough");
    expect(await ended(member, job.job_id)).toMatchObject({
      state: "cancelled",
      counts: { cancelled: 2, queued: 2 },
      message: "cancelled by ann: enough",
    });
  });

  it("holds a command for a host that is away, and runs it once when it comes back", async () => {
    const world = await openWorld();
    const member = await startWith(world, ["h0", "h1"]);
    member.site?.down(1);
    await until(() => member.control.health().sessions === 1);
    const job = jobOf(await member.control.submit(request({ targets: { hosts: ["h0"] } }), ann));
    await until(() => member.control.health().held === 1);
    member.site?.up(agentOf(world, "h0"));
    expect(await ended(member, job.job_id)).toMatchObject({ state: "succeeded" });
    expect([...agentOf(world, "h0").runs.values()]).toEqual([1]);
  });

  it("is expired on a host that never came, and lost on one that took it and fell silent", async () => {
    const world = await openWorld();
    const member = await startWith(world, ["h0", "h1"]);
    member.site?.down(1);
    agentOf(world, "h1").deed = () => null;
    await until(() => member.control.health().sessions === 1);
    const job = jobOf(await member.control.submit(request({ batch: { ramp: false, errors_max: 5 } }), ann));
    await until(() => agentOf(world, "h1").runs.size === 1);
    await world.fleet.time.pass(602_000);
    await until(() => world.results.length === 1);
    expect(world.results).toMatchObject([{ host: "h0", state: "expired" }]);
    await world.fleet.time.pass(122_000);
    expect(await ended(member, job.job_id)).toMatchObject({ counts: { expired: 1, lost: 1 } });
    agentOf(world, "h1").finish(`${job.job_id}.0`, "succeeded");
    await until(() => member.control.job(job.job_id)?.job.counts.succeeded === 1);
    expect(member.control.job(job.job_id)?.job.counts).toEqual({ expired: 1, succeeded: 1 });
  });
});

describe("a control plane that is killed", () => {
  /** One job, killed at the n-th write from its submission on; then another control plane goes on. null when it was over before that. */
  const runWithDeath = async (
    world: World,
    member: Member,
    { writes, partsTopics }: { writes: number; partsTopics: boolean },
  ): Promise<Member | null> => {
    const { fleet } = world;
    const before = member.control.jobs({}).length;
    [member.life.publishesLeft, member.life.partsTopics] = [writes, partsTopics];
    const answer = await member.control.submit(request({ batch: { concurrency_max: 2 } }), ann);
    await until(() => member.life.isDead || member.control.health().jobs_open === 0);
    if (!member.life.isDead) return null;
    await fleet.kill(member);
    const next = await fleet.member();
    undo.push(async () => next.control.stop());
    await fleet.lead(next);
    await until(() => next.control.health().jobs_open === 0);
    const jobs = next.control.jobs({});
    for (const job of jobs) expect(job).toMatchObject({ state: "succeeded", counts: { succeeded: 5 } });
    // Who was told that it is there finds it; who was told that it is unknown has to look.
    expect(jobs.length - before).toBeLessThanOrEqual(1);
    if (!("refused" in answer)) expect(jobs.map(({ job_id }) => job_id)).toContain(answer.job_id);
    return next;
  };

  it.each([
    { of: "an embedded bus", partsTopics: false, deathsMin: 8 },
    { of: "a broker, which takes one topic after the other", partsTopics: true, deathsMin: 10 },
  ])("at any write of $of leaves nothing out and nothing done twice", async ({ partsTopics, deathsMin }) => {
    const world = await openWorld();
    let [member, deaths] = [await startWith(world, hostNames(5)), 0];
    for (;;) {
      const next = await runWithDeath(world, member, { writes: deaths + 1, partsTopics });
      for (const agent of world.fleet.agents.values()) expect(Math.max(0, ...agent.runs.values())).toBeLessThan(2);
      if (next === null) break;
      [member, deaths] = [next, deaths + 1];
    }
    expect(deaths).toBeGreaterThanOrEqual(deathsMin);
    const jobs = member.control.jobs({}).length;
    expect(jobs).toBeGreaterThan(deaths - 2);
    for (const agent of world.fleet.agents.values()) expect(agent.runs.size).toBe(jobs);
    expect(await member.control.audit.verify()).toMatchObject({ ok: true });
    const audited = (await member.control.audit.read(1, 1_000)).filter(({ what }) => what === "job.ended");
    expect(audited.map(({ subject }) => subject).sort(), "each end is audited, and once").toEqual(
      member.control
        .jobs({})
        .map(({ job_id }) => job_id)
        .sort(),
    );
  });

  it("while agents are at work goes on when they answer the next one", async () => {
    const world = await openWorld();
    const member = await startWith(world, hostNames(4));
    for (const agent of world.fleet.agents.values()) agent.deed = () => null;
    const job = jobOf(await member.control.submit(request({ batch: { ramp: false, concurrency_max: 3 } }), ann));
    const busy = () => [...world.fleet.agents.values()].filter(({ runs }) => runs.size === 1);
    await until(() => busy().length === 3);
    await world.fleet.kill(member);
    for (const agent of busy()) agent.finish(agent.journal.keys().next().value ?? "", "succeeded");
    for (const agent of world.fleet.agents.values()) agent.deed = () => "succeeded";
    const next = await world.fleet.member();
    undo.push(async () => next.control.stop());
    await world.fleet.lead(next);
    expect(await ended(next, job.job_id)).toMatchObject({ state: "succeeded", counts: { succeeded: 4 } });
    for (const agent of world.fleet.agents.values()) expect([...agent.runs.values()]).toEqual([1]);
  });

  it("after a job ended with lost hosts is followed by one that counts what they tell when they come back, and so on", async () => {
    const world = await openWorld();
    const first = await startWith(world, hostNames(5));
    for (const host of ["h1", "h3", "h4"]) agentOf(world, host).deed = () => null;
    const batch = { ramp: false, concurrency_max: 2, errors_max: 1 };
    const job = jobOf(await first.control.submit(request({ batch, targets: { hosts: hostNames(5) } }), ann));
    const silent = () => ["h1", "h3", "h4"].flatMap((host) => [...agentOf(world, host).runs.keys()]);
    await until(() => silent().length === 2);
    await world.fleet.time.pass(723_000);
    const failed = await ended(first, job.job_id);
    expect(failed).toMatchObject({ state: "failed", counts: { lost: 2 } });
    const late = [...world.fleet.agents.values()].filter(({ journal }) => [...journal.values()].includes(null));
    const audited = (await first.control.audit.read(1, 100)).length;

    let leader = first;
    for (const [index, agent] of late.entries()) {
      await world.fleet.kill(leader);
      leader = await world.fleet.member();
      const { control } = leader;
      undo.push(async () => control.stop());
      await world.fleet.lead(leader);
      expect(control.job(job.job_id)).toMatchObject({ is_complete: false, job: { counts: { lost: 2 - index } } });
      const [commandId = ""] = agent.runs.keys();
      // A dispatch that it was never part of is not what was lost.
      agent.say({ type: "result", result: resultOf(`${job.job_id}.7`, agent.host) });
      agent.finish(commandId, "succeeded");
      agent.finish(commandId, "succeeded");
      await until(() => control.jobs({})[0]?.counts.lost !== 2 - index);
      expect(control.job(job.job_id)?.job).toEqual(control.jobs({})[0]);
    }
    const { lost_hosts: _, ...rest } = failed;
    await until(() => leader.control.jobs({})[0]?.lost_hosts === undefined);
    const amended = leader.control.jobs({})[0];
    expect(amended).toEqual({ ...rest, counts: countsBy(world, job) });
    expect(amended?.counts.lost).toBeUndefined();
    expect((await leader.control.audit.read(1, 100)).length).toBe(audited);
    for (const agent of world.fleet.agents.values()) expect(Math.max(0, ...agent.runs.values())).toBeLessThan(2);
  });

  it("in the middle of cancelling is followed by one that cancels", async () => {
    const world = await openWorld();
    const member = await startWith(world, hostNames(3));
    for (const agent of world.fleet.agents.values()) agent.deed = () => null;
    const job = jobOf(await member.control.submit(request({ batch: { ramp: false, concurrency_max: 2 } }), ann));
    await until(() => [...world.fleet.agents.values()].filter(({ runs }) => runs.size > 0).length === 2);
    member.life.publishesLeft = 1;
    expect(await member.control.cancel(job.job_id, ann, "")).toMatchObject({ refused: "unavailable" });
    await world.fleet.kill(member);
    const next = await world.fleet.member();
    undo.push(async () => next.control.stop());
    await world.fleet.lead(next);
    const [view] = next.control.jobs({});
    // What died first, the job's record or its line in the audit log, decides whether anybody ever heard of the cancellation.
    if (view?.state === "running") await next.control.cancel(job.job_id, ann, "");
    expect(await ended(next, job.job_id)).toMatchObject({ state: "cancelled", counts: { cancelled: 2, queued: 1 } });
  });
});

describe("two control planes", () => {
  it("only the leader answers, and the other one takes over when it stops", async () => {
    const world = await openWorld();
    const first = await startWith(world, ["h0"]);
    const second = await world.fleet.member();
    undo.push(async () => second.control.stop());
    expect(await second.control.submit(request(), ann)).toMatchObject({ refused: "not_leader" });
    expect(second.control.identities).toBeNull();
    expect(second.control.health().role).toBe("standby");
    const job = jobOf(await first.control.submit(request(), ann));
    await ended(first, job.job_id);
    await first.control.stop();
    await world.fleet.lead(second);
    expect(second.control.job(job.job_id)).toMatchObject({ is_complete: false, job: { counts: { succeeded: 1 } } });
    await ended(second, jobOf(await second.control.submit(request(), ann)).job_id);
    expect(await second.control.audit.verify()).toMatchObject({ ok: true, records: 4 });
  });

  it("a follower hears that its leader leads no more, so that it can follow the job where it goes on", async () => {
    const world = await openWorld();
    const member = await startWith(world, ["h0"]);
    agentOf(world, "h0").deed = () => null;
    const job = jobOf(await member.control.submit(request(), ann));
    const heard: string[] = [];
    member.control.follow(job.job_id, ({ type }) => heard.push(type));
    await until(() => agentOf(world, "h0").runs.size === 1);
    await member.control.stop();
    expect(heard.at(-1)).toBe("left");
    expect(heard).not.toContain("end");
  });

  it("a leader that has not noticed that it is over writes nothing", async () => {
    const world = await openWorld();
    const first = await startWith(world, ["h0"]);
    // The lease is gone under it, as after a pause that outlasted it.
    first.life.loseCommits = true;
    expect(await first.control.submit(request(), ann)).toMatchObject({ refused: "unavailable" });
    expect(agentOf(world, "h0").runs.size).toBe(0);
    const second = await world.fleet.member();
    undo.push(async () => second.control.stop());
    await world.fleet.kill(first);
    await world.fleet.lead(second);
    expect(second.control.jobs({})).toEqual([]);
    expect(await second.control.audit.verify()).toMatchObject({ ok: true, records: 0 });
  });
});

describe("agents", () => {
  it("whose sealing fails are closed, and begin anew", async () => {
    const world = await openWorld();
    const member = await startWith(world, ["h0"]);
    agentOf(world, "h0").babble();
    await until(() => world.fleet.closed.length === 1);
    expect(world.fleet.closed[0]?.reason).toMatch(/altered/);
    expect(member.control.health().turned_away).toEqual({ seal_broken: 1 });
    member.site?.up(agentOf(world, "h0"));
    const job = jobOf(await member.control.submit(request(), ann));
    expect(await ended(member, job.job_id)).toMatchObject({ state: "succeeded" });
  });

  it("that are in quarantine report, are sent nothing, and get what waits when they are readmitted", async () => {
    const world = await openWorld();
    const member = await startWith(world, ["h0", "h1"]);
    const { control } = member;
    await control.identities?.quarantine("h0", "bob", "odd");
    await until(() => control.agent("h0")?.state === "quarantined");
    expect(await control.submit(request({ targets: { hosts: ["h0"] } }), ann)).toMatchObject({
      refused: "wrong_state",
      message: "quarantined or revoked, so nothing is sent to them: h0",
    });
    expect(control.preview(request(), ann)).toMatchObject({ hosts: ["h1"], sites: { dc1: { targeted: 1, of: 2 } } });
    await control.identities?.readmit("h0", "bob", "well again");
    await until(() => control.agent("h0")?.state === "online");
    const job = jobOf(await control.submit(request(), ann));
    expect(await ended(member, job.job_id)).toMatchObject({ counts: { succeeded: 2 } });
  });

  it("that move to another session are told again what has no result, and do it once", async () => {
    const world = await openWorld();
    const member = await startWith(world, ["h0"]);
    agentOf(world, "h0").deed = () => null;
    const job = jobOf(await member.control.submit(request(), ann));
    await until(() => agentOf(world, "h0").runs.size === 1);
    member.site?.up(agentOf(world, "h0"));
    await until(() => agentOf(world, "h0").heard.filter(({ type }) => type === "command").length === 2);
    agentOf(world, "h0").finish(`${job.job_id}.0`, "succeeded");
    expect(await ended(member, job.job_id)).toMatchObject({ state: "succeeded" });
    expect([...agentOf(world, "h0").runs.values()]).toEqual([1]);
  });

  it("that cannot speak for others: a result for another host is turned away", async () => {
    const world = await openWorld();
    const member = await startWith(world, ["h0", "h1"]);
    agentOf(world, "h1").deed = () => null;
    const job = jobOf(await member.control.submit(request({ targets: { hosts: ["h1"] } }), ann));
    await until(() => agentOf(world, "h1").runs.size === 1);
    const lie = { ...resultOf(`${job.job_id}.0`, "h1"), stdout: "all well" };
    agentOf(world, "h0").say({ type: "result", result: lie });
    await until(() => member.control.health().turned_away.result_of_another_host === 1);
    expect(member.control.job(job.job_id)?.job.counts).toEqual({ delivered: 1 });
    expect(world.results).toEqual([]);
  });

  it("that speak to the bus themselves take part in jobs without a session", async () => {
    const world = await openWorld();
    const member = await startWith(world, ["h0"]);
    const heartbeat = { ...world.fleet.beatOf("lone"), site: "" };
    await world.bus.publish([{ topic: "agent.heartbeats", key: "lone", value: bytesOf(heartbeat) }]);
    await until(() => member.control.agent("lone") !== null);
    const job = jobOf(await member.control.submit(request(), ann));
    await until(
      () =>
        member.control
          .job(job.job_id)
          ?.invocations.some(({ host, command_id }) => host === "lone" && command_id !== "") === true,
    );
    const sent = member.control.job(job.job_id)?.invocations.find(({ host }) => host === "lone")?.command_id ?? "";
    await world.bus.publish([{ topic: "agent.results", key: "lone", value: bytesOf(resultOf(sent, "lone")) }]);
    expect(await ended(member, job.job_id)).toMatchObject({ state: "succeeded", counts: { succeeded: 2 } });
  });
});

/** What the results on the bus of what hosts were sent come to: an end is final, and only `lost` gives way. */
const countsBy = ({ results, fleet }: World, { hosts }: Job): Job["counts"] => {
  const ends = new Map<string, CommandResult["state"]>();
  for (const { host, command_id, state } of results)
    if (fleet.agents.get(host)?.runs.has(command_id) && (ends.get(host) ?? "lost") === "lost") ends.set(host, state);
  const counts: Job["counts"] = {};
  for (const host of hosts) {
    const state = ends.get(host) ?? "queued";
    counts[state] = (counts[state] ?? 0) + 1;
  }
  return counts;
};

const bytesOf = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));

describe("what others put on agent.commands", () => {
  const dispatch = (world: World, command_id: string, hosts: readonly string[]) =>
    dispatchOf(
      {
        command_id,
        job_id: "run-1",
        requested_by: "remediation",
        executor: "service.restart",
        risk: "reversible",
        targets: { sites: {} },
        approvals: [],
        issued_at_unix_ms: world.fleet.time.now(),
        not_after_unix_ms: world.fleet.time.now() + 60_000,
        timeout_ms: 1_000,
        output_bytes_max: 1_000,
        limits: {},
      },
      { args: {}, hosts, privateKey: world.fleet.keys.privateKey },
    );

  it("is brought to hosts with an identity, and its results to the bus, unknown ones too", async () => {
    const world = await openWorld();
    await startWith(world, ["h0"]);
    const value = bytesOf(dispatch(world, "run-1:step-1", ["h0", "elsewhere"]));
    await world.bus.publish([{ topic: "agent.commands", key: "run-1:step-1", value }]);
    await until(() => world.results.length === 1);
    expect(world.results).toMatchObject([{ command_id: "run-1:step-1", host: "h0", state: "succeeded" }]);
    agentOf(world, "h0").finish("never-heard-of", "failed");
    await until(() => world.results.length === 2);
    await acknowledged(world);
  });

  it("that cannot be read is counted and skipped", async () => {
    const world = await openWorld();
    const member = await startWith(world, ["h0"]);
    await world.bus.publish([{ topic: "agent.commands", key: "x", value: Buffer.from("{}") }]);
    await until(() => member.control.health().turned_away["malformed agent.commands"] === 1);
    const job = jobOf(await member.control.submit(request(), ann));
    expect(await ended(member, job.job_id)).toMatchObject({ state: "succeeded" });
  });
});
