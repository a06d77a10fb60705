import { describe, expect, it } from "vitest";
import { ann, until } from "../../agent/src/control/control-fleet.fixture.ts";
import { Job, JobRequest } from "../../schemas/src/index.ts";
import { openWorld, startWith, watchedBus } from "./control-world.ts";

/* What control writes together, and what waits for what. */

const request = (hosts: readonly string[]): JobRequest =>
  JobRequest.parse({ executor: "service.restart", args: { service: "shop" }, targets: { hosts } });

const idOf = (job: object): string => Job.parse(job).job_id;

describe("what control publishes", () => {
  it("a job, its first dispatch and what is audited of it go together, and so do its last result, its end and the word of it", async () => {
    const { published, openBus } = watchedBus();
    const world = await openWorld(undefined, openBus);
    const { control } = await startWith(world, ["h0"]);
    published.length = 0;
    const id = idOf(await control.submit(request(["h0"]), ann));
    await until(() => control.job(id)?.job.state === "succeeded");
    const ofJobs = published.filter((all) => all.some((topic) => topic !== "agent.heartbeats"));
    expect(ofJobs).toEqual([
      ["audit", "agent.jobs", "agent.commands"],
      ["audit", "agent.results", "agent.jobs"],
    ]);
  });

  it("an agent that ends is told at once that its results are there, of before and of after it said so", async () => {
    const world = await openWorld();
    const { control } = await startWith(world, ["h0"]);
    const agent = world.fleet.agents.get("h0");
    if (agent === undefined) throw new Error("no agent h0");
    const first = idOf(await control.submit(request(["h0"]), ann));
    await until(() => control.job(first)?.job.state === "succeeded");
    expect(agent.unacknowledged.size).toBe(1);
    agent.deed = () => null;
    const second = idOf(await control.submit(request(["h0"]), ann));
    await until(() => agent.runs.size === 2);
    agent.say({ type: "leaving" });
    agent.finish(`${second}.0`, "succeeded");
    // No time passes here.
    await until(() => agent.unacknowledged.size === 0);
    expect(control.job(second)?.job.state).toBe("succeeded");
  });

  it("a late result is acknowledged once the record that counts it is there, however often it is told", async () => {
    const { gate, openBus } = watchedBus();
    const world = await openWorld(undefined, openBus);
    const { control } = await startWith(world, ["h0"]);
    const agent = world.fleet.agents.get("h0");
    if (agent === undefined) throw new Error("no agent h0");
    agent.deed = () => null;
    const lost = idOf(await control.submit(request(["h0"]), ann));
    await until(() => agent.runs.size === 1);
    await world.fleet.time.pass(724_000);
    await until(() => control.job(lost)?.job.state === "failed");

    gate.isHeld = ({ topic, key }) => topic === "agent.jobs" && key === lost;
    agent.finish(`${lost}.0`, "succeeded");
    await until(() => gate.held === 1);
    agent.finish(`${lost}.0`, "succeeded");
    // Whatever is acknowledged goes with the next command, and with time.
    agent.deed = () => "succeeded";
    const next = idOf(await control.submit(request(["h0"]), ann));
    await until(() => control.job(next)?.job.state === "succeeded");
    await world.fleet.time.pass(10_000);
    await until(() => !agent.unacknowledged.has(`${next}.0`));
    expect(agent.unacknowledged.has(`${lost}.0`)).toBe(true);

    gate.isHeld = () => false;
    gate.open();
    await until(() => control.jobs({}).find(({ job_id }) => job_id === lost)?.counts.succeeded === 1);
    await world.fleet.time.pass(10_000);
    await until(() => !agent.unacknowledged.has(`${lost}.0`));
  });
});
