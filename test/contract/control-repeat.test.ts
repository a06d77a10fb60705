import { describe, expect, it } from "vitest";
import { ann, type Member, until } from "../../agent/src/control/control-fleet.fixture.ts";
import { type Bus, type BusMessage, type Job, JobRequest, type OutgoingMessage } from "../../schemas/src/index.ts";
import { openWorld, startWith, undo, type World } from "./control-world.ts";

/* Whoever may write to the bus puts control's own older records there again, proofs and all. */

const request = JobRequest.parse({ executor: "service.restart", args: {}, targets: { hosts: ["h0"] } });

const accepted = (value: object): Job => {
  if ("refused" in value) throw new Error(JSON.stringify(value));
  return value as Job;
};

/** All that a topic of one partition holds, as it stands there. */
const recordsOn = async (bus: Bus, topic: string): Promise<readonly OutgoingMessage[]> => {
  const found: BusMessage[] = [];
  const { promise: whole, resolve } = Promise.withResolvers<void>();
  const reading = await bus.consume({
    group: `reader-of-${topic}-${Math.random()}`,
    topics: [topic],
    open: async ({ earliestOffset, endOffset }) => {
      if (earliestOffset === endOffset) resolve();
      return {
        startOffset: earliestOffset,
        receive: async (messages) => {
          found.push(...messages);
          if ((messages.at(-1)?.offset ?? 0) + 1 >= endOffset) resolve();
        },
      };
    },
  });
  await whole;
  await reading.stop();
  return found.map(({ topic, key, value, headers }) => ({ topic, key: key ?? "", value, headers }));
};

const inRecord = ({ value }: OutgoingMessage): Record<string, unknown> =>
  value === null ? {} : JSON.parse(Buffer.from(value).toString());

const nextLeader = async (world: World, before: Member): Promise<Member> => {
  await world.fleet.kill(before);
  const next = await world.fleet.member();
  undo.push(async () => next.control.stop());
  await world.fleet.lead(next);
  return next;
};

describe("a record of control's own that is put on the bus again", () => {
  it("brings no cancelled job back, neither under this leader nor under the next, and is covered by the newest again", async () => {
    const world = await openWorld();
    const first = await startWith(world, ["h0"]);
    const agent = world.fleet.agents.get("h0");
    if (agent === undefined) throw new Error("no agent h0");
    agent.deed = () => null;
    const job = accepted(await first.control.submit(request, ann));
    await until(() => agent.runs.size === 1);
    await first.control.cancel(job.job_id, ann, "enough");
    await until(() => first.control.job(job.job_id)?.job.state === "cancelled");
    const running = (await recordsOn(world.bus, "agent.jobs")).filter((one) => inRecord(one).state === "running");
    expect(running).not.toEqual([]);
    await world.bus.publish(running);
    const second = await nextLeader(world, first);
    expect(second.control.job(job.job_id)?.job.state).toBe("cancelled");
    const onBus = async () =>
      inRecord((await recordsOn(world.bus, "agent.jobs")).at(-1) ?? { topic: "", key: "", value: null });
    await expect.poll(async () => (await onBus()).state).toBe("cancelled");
    const third = await nextLeader(world, second);
    expect(third.control.job(job.job_id)?.job.state).toBe("cancelled");
    expect(third.control.health().jobs_open).toBe(0);
  });

  it("gives no token back that was withdrawn", async () => {
    const world = await openWorld();
    const first = await startWith(world, ["h0"]);
    const made = await first.control.identities?.createToken({ for: "agent", site: "dc1" }, "ann");
    if (made === undefined || "refused" in made) throw new Error("no token");
    const valid = await recordsOn(world.bus, "agent.identities");
    await first.control.identities?.withdrawToken(made.token.id, "ann");
    const tokensOf = ({ control }: Member) => control.identities?.tokens();
    const after = tokensOf(first);
    expect(after).not.toEqual([made.token]);
    await world.bus.publish(valid.filter((one) => inRecord(one).kind === "token"));
    const second = await nextLeader(world, first);
    expect(tokensOf(second)).toEqual(after);
  });

  it("takes no wish for a plugin back, nor does one count that no control has written", async () => {
    const world = await openWorld();
    const first = await startWith(world, ["h0"]);
    const wish = { name: "cpu", version: null, targets: { labels: "*" }, by: "ann" };
    accepted({ ...(await first.control.plugins?.wish({ ...wish, enabled: true })) });
    const older = await recordsOn(world.bus, "agent.plugins");
    accepted({ ...(await first.control.plugins?.wish({ ...wish, enabled: false })) });
    const after = first.control.plugins?.wishes();
    await world.bus.publish([...older, ...older.map((one) => ({ ...one, headers: {} }))]);
    const second = await nextLeader(world, first);
    expect(second.control.plugins?.wishes()).toEqual(after);
    expect(after).toMatchObject([{ enabled: false }]);
  });

  it("loses its proof with another revision, or without one", async () => {
    const world = await openWorld();
    const first = await startWith(world, ["h0"]);
    const job = accepted(await first.control.submit(request, ann));
    await until(() => first.control.job(job.job_id)?.job.state === "succeeded");
    const [oldest] = (await recordsOn(world.bus, "agent.jobs")).filter(({ key }) => key === job.job_id);
    if (oldest === undefined) throw new Error("no record of the job");
    const { revision: _, ...unnumbered } = oldest.headers ?? {};
    await world.bus.publish([
      { ...oldest, headers: { ...oldest.headers, revision: "999999" } },
      { ...oldest, headers: unnumbered },
    ]);
    const second = await nextLeader(world, first);
    expect(second.control.job(job.job_id)?.job.state).toBe("succeeded");
    expect(second.control.health().turned_away["unproved agent.jobs"]).toBe(2);
  });
});
