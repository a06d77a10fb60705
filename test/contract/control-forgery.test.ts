import { generateKeyPairSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { ann, type Member, until } from "../../agent/src/control/control-fleet.fixture.ts";
import { type Dispatch, dispatchOf, type Job, JobRequest, signCancel } from "../../schemas/src/index.ts";
import { type World as OpenWorld, openWorld, resultOf, startWith, undo } from "./control-world.ts";

/* Whoever may write to the bus, and has none of control's keys. */

const stranger = generateKeyPairSync("ed25519");

interface World extends OpenWorld {
  readonly member: Member;
}

const bytesOf = (value: object): Buffer => Buffer.from(JSON.stringify(value));

const worldWith = async (hosts: readonly string[]): Promise<World> => {
  const world = await openWorld();
  return { ...world, member: await startWith(world, hosts) };
};

const turnedAway = ({ member }: World, reason: string): number => member.control.health().turned_away[reason] ?? 0;

const request = JobRequest.parse({ executor: "service.restart", args: {}, targets: { hosts: ["h0"] } });

const dispatchBy = ({ fleet }: World, privateKey: typeof stranger.privateKey): Dispatch => {
  const now = fleet.time.now();
  const terms = {
    command_id: "run-1:step-1",
    job_id: "run-1",
    requested_by: "remediation",
    executor: "service.restart",
    risk: "reversible" as const,
    targets: { sites: {} },
    approvals: [],
    issued_at_unix_ms: now,
    not_after_unix_ms: now + 60_000,
    timeout_ms: 1_000,
    output_bytes_max: 1_000,
    limits: {},
  };
  return dispatchOf(terms, { args: {}, hosts: ["h0"], privateKey });
};

const jobMadeUp = (now: number): Job => ({
  job_id: "made-up",
  request: { ...request, executor: "files.free" },
  requested_by: "ann",
  risk: "destructive",
  state: "running",
  hosts: ["h0"],
  sites: { dc1: { targeted: 1, of: 1 } },
  approvals: [{ by: "bob", at_unix_ms: now }],
  created_at_unix_ms: now,
  not_after_unix_ms: now + 600_000,
  ended_at_unix_ms: null,
  counts: {},
  message: "",
});

describe("what a stranger puts on the bus", () => {
  it("a job with made-up approvals is signed by no leader, neither this one nor the next", async () => {
    const world = await worldWith(["h0"]);
    const { bus, fleet, member } = world;
    const job = jobMadeUp(fleet.time.now());
    await bus.publish([{ topic: "agent.jobs", key: job.job_id, value: bytesOf(job) }]);
    await until(() => turnedAway(world, "unproved agent.jobs") === 1);
    expect(member.control.health().role).toBe("leader");
    await fleet.kill(member);
    const next = await fleet.member();
    undo.push(async () => next.control.stop());
    await fleet.lead(next);
    expect(next.control.job("made-up")).toBeNull();
    expect(next.control.health().turned_away["unproved agent.jobs"]).toBe(1);
    expect(fleet.agents.get("h0")?.runs.size).toBe(0);
  });

  it.each([
    ["signed by a strange key", (world: World) => dispatchBy(world, stranger.privateKey)],
    [
      "under our key's name, and not signed by it",
      (world: World) => {
        const [ours, theirs] = [dispatchBy(world, world.fleet.keys.privateKey), dispatchBy(world, stranger.privateKey)];
        return { ...ours, signed: { ...ours.signed, signature: theirs.signed.signature } };
      },
    ],
    ["with other arguments", (world: World) => ({ ...dispatchBy(world, world.fleet.keys.privateKey), args: { a: 1 } })],
    ["for other hosts", (world: World) => ({ ...dispatchBy(world, world.fleet.keys.privateKey), hosts: ["h1"] })],
    [
      "for hosts beside those that were granted",
      (world: World) => ({ ...dispatchBy(world, world.fleet.keys.privateKey), hosts: ["h0", "h1"] }),
    ],
  ])("a dispatch %s is brought to nobody", async (_, make) => {
    const world = await worldWith(["h0", "h1"]);
    await world.bus.publish([{ topic: "agent.commands", key: "run-1:step-1", value: bytesOf(make(world)) }]);
    await until(() => turnedAway(world, "unsigned agent.commands") === 1);
    expect(world.member.control.health()).toMatchObject({ role: "leader", invocations_open: 0 });
  });

  it("a cancellation that control did not sign cancels nothing", async () => {
    const world = await worldWith(["h0"]);
    const dispatch = dispatchBy(world, world.fleet.keys.privateKey);
    const cancel = { command_id: "run-1:step-1", hosts: [], cancelled_by: "ann", at_unix_ms: 1, not_after_unix_ms: 2 };
    const runs = world.fleet.agents.get("h0")?.runs;
    await world.bus.publish([
      { topic: "agent.commands", key: "run-1:step-1", value: bytesOf(signCancel(cancel, stranger.privateKey)) },
      { topic: "agent.commands", key: "run-1:step-1", value: bytesOf(dispatch) },
    ]);
    await until(() => runs?.size === 1);
    expect(turnedAway(world, "unsigned agent.commands")).toBe(1);
  });

  it("a result of a host that speaks through control settles nothing", async () => {
    const world = await worldWith(["h0"]);
    const agent = world.fleet.agents.get("h0");
    if (agent === undefined) throw new Error("no agent h0");
    agent.deed = () => null;
    const job = await world.member.control.submit(request, ann);
    if ("refused" in job) throw new Error(job.message);
    await until(() => agent.runs.size === 1);
    const result = resultOf(`${job.job_id}.0`, "h0", { started_at_unix_ms: 1, ended_at_unix_ms: 2 });
    await world.bus.publish([{ topic: "agent.results", key: "h0", value: bytesOf(result) }]);
    await until(() => turnedAway(world, "unproved agent.results") === 1);
    expect(world.member.control.job(job.job_id)?.job.state).toBe("running");
  });

  it("what is no record at the end of the audit log keeps nobody from leading, and is told by every verification", async () => {
    const { bus, fleet, member } = await worldWith(["h0"]);
    for (let n = 0; n < 3; n += 1) await member.control.audit.append("ann", "agent.noted", `n${n}`, { n });
    await bus.publish([{ topic: "audit", key: "4", value: Buffer.from("{}") }]);
    await fleet.kill(member);
    const next = await fleet.member();
    undo.push(async () => next.control.stop());
    await fleet.lead(next);
    await next.control.audit.append("ann", "agent.noted", "after", {});
    expect((await next.control.audit.read(4, 1)).map(({ subject }) => subject)).toEqual(["after"]);
    expect(await next.control.audit.verify()).toMatchObject({
      ok: false,
      flaw: expect.stringMatching(/cannot be read/),
    });
  });
});
