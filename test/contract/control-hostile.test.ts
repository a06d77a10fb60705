import { generateKeyPairSync, sign } from "node:crypto";
import type { JobEvent } from "@homeostat/agent/control";
import { describe, expect, it, vi } from "vitest";
import { ann, type FakeAgent, until } from "../../agent/src/control/control-fleet.fixture.ts";
import { BusError, identityKey, Job, JobRequest } from "../../schemas/src/index.ts";
import { log, openWorld, resultOf, startWith, undo, type World, watchedBus } from "./control-world.ts";

/* Agents that are who they say they are, and say what they should not. */

const request = (changes: object = {}): JobRequest =>
  JobRequest.parse({ executor: "service.restart", args: { service: "shop" }, targets: { hosts: ["h0"] }, ...changes });
const idOf = (job: object): string => Job.parse(job).job_id;

const agentOf = ({ fleet }: World, host: string): FakeAgent => {
  const agent = fleet.agents.get(host);
  if (agent === undefined) throw new Error(`no agent ${host}`);
  return agent;
};

/** Control has heard all that this agent has said. */
const isHeard = async (agent: FakeAgent): Promise<void> => {
  const count = (): number => agent.heard.filter(({ type }) => type === "clock").length;
  const before = count();
  agent.say({ type: "clock", asked_at_unix_ms: 1 });
  await until(() => count() > before);
};

describe("a person", () => {
  it.each([
    ["has no canonical form", "\ud800"],
    ["is cut in the middle of a character", `${"x".repeat(971)}${"\u{1f600}".repeat(14)}`],
  ])("whose words are such that what is audited of them %s, ends no term", async (_, note) => {
    const world = await openWorld();
    const { control } = await startWith(world, ["h0"]);
    agentOf(world, "h0").deed = () => null;
    const id = idOf(await control.submit(request({ reason: note }), ann));
    for (const wrong of [{ targets: { labels: note } }, { targets: { site: "\ud800" } }, { args: { of: "\ud800" } }])
      expect(await control.submit(request(wrong), ann)).toMatchObject({ refused: "invalid" });
    expect(await control.identities?.quarantine("h0", "ann", note)).toMatchObject({ state: "quarantined" });
    expect(await control.cancel(id, ann, note)).toMatchObject({ state: "stopping" });
    agentOf(world, "h0").finish(`${id}.0`, "cancelled");
    await until(() => control.job(id)?.job.state === "cancelled");
    expect(control.health()).toMatchObject({ role: "leader", last_error: null });
    expect(await control.audit.verify()).toMatchObject({ ok: true });
  });
});

describe("an agent", () => {
  it("that makes up results of dispatches that never were ends no term", async () => {
    const world = await openWorld();
    const { control } = await startWith(world, ["h0", "h1"]);
    const [mine, evil] = [agentOf(world, "h0"), agentOf(world, "h1")];
    mine.deed = () => null;
    const id = idOf(await control.submit(request(), ann));
    await until(() => mine.runs.size === 1);
    for (let n = 1; n <= 10_001; n += 1) {
      evil.say({ type: "result", result: resultOf(`${id}.${n}`, "h1") });
      if (n % 500 === 0) await isHeard(evil);
    }
    await until(() => world.results.length === 10_001);
    expect(control.health()).toMatchObject({ role: "leader", last_error: null });
    mine.finish(`${id}.0`, "succeeded");
    await until(() => control.job(id)?.job.state === "succeeded");
  });

  it("that asks for one certificate after the other does not stand before its own revocation", async () => {
    const world = await openWorld();
    const { control } = await startWith(world, ["h0"]);
    const evil = agentOf(world, "h0");
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const spki = publicKey.export({ type: "spki", format: "pem" }).toString();
    const signature = sign("sha256", Buffer.from(`homeostat renew\nh0\n${spki}`), privateKey).toString("base64");
    for (let n = 0; n < 5_000; n += 1) evil.say({ type: "renew", spki, signature });
    evil.say({ type: "clock", asked_at_unix_ms: 1 });
    await until(() => (control.health().turned_away.renewal_busy ?? 0) > 4_000);
    expect(await control.identities?.revoke("h0", "ann", "stolen")).toMatchObject({ state: "revoked" });
  });

  it("whose clock was far ahead once is known by what it says afterwards", async () => {
    const world = await openWorld();
    const { control } = await startWith(world, ["h0"]);
    const agent = agentOf(world, "h0");
    const beat = (at_unix_ms: number, role: string) =>
      agent.say({ type: "heartbeat", heartbeat: { ...world.fleet.beatOf("h0"), at_unix_ms, labels: { role } } });
    beat(world.fleet.time.now() + 10 * 365 * 86_400_000, "test");
    await until(() => control.agent("h0")?.labels.role === "test");
    beat(world.fleet.time.now(), "production");
    await until(() => control.agent("h0")?.labels.role === "production");
    expect(control.preview(request({ targets: { labels: "role=test" } }), ann)).toMatchObject({
      refused: "no_targets",
    });
    agentOf(world, "h0").down();
    await world.fleet.time.pass(600_000);
    expect(control.agent("h0")?.last_seen_unix_ms).toBeLessThanOrEqual(world.fleet.time.now() - 600_000);
  });

  it("whose clock was set back is heard in its session all the same, and is not taken for silent", async () => {
    const world = await openWorld();
    const { control } = await startWith(world, ["h0"]);
    const agent = agentOf(world, "h0");
    const { time } = world.fleet;
    const beat = (at_unix_ms: number, role: string) =>
      agent.say({ type: "heartbeat", heartbeat: { ...world.fleet.beatOf("h0"), at_unix_ms, labels: { role } } });
    beat(time.now(), "before");
    await until(() => control.agent("h0")?.labels.role === "before");
    await time.pass(3_600_000);
    beat(time.now() - 10 * 365 * 86_400_000, "after");
    await until(() => control.agent("h0")?.labels.role === "after");
    expect(control.agent("h0")).toMatchObject({ state: "online", last_seen_unix_ms: time.now() });
  });

  it("that says one heartbeat after the other has few of them on the bus, the newest at last", async () => {
    const published: number[] = [];
    const openBus = async (dir: string) => {
      const bus = await watchedBus().openBus(dir);
      const publish: typeof bus.publish = async (messages, options) => {
        for (const { topic, value } of messages)
          if (topic === "agent.heartbeats") published.push(JSON.parse(Buffer.from(value ?? []).toString()).spool_bytes);
        await bus.publish(messages, options);
      };
      return { ...bus, publish };
    };
    const world = await openWorld(undefined, openBus);
    await startWith(world, ["h0"]);
    const evil = agentOf(world, "h0");
    for (let n = 1; n <= 2_000; n += 1)
      evil.say({ type: "heartbeat", heartbeat: { ...world.fleet.beatOf("h0"), spool_bytes: n } });
    await isHeard(evil);
    while (published.at(-1) !== 2_000) await world.fleet.time.pass(250);
    expect(published.length).toBeLessThan(10);
  });

  it("whose heartbeats a bus that is down does not take has a few lines in the log", async () => {
    const warned = vi.spyOn(log, "warn");
    undo.push(async () => warned.mockRestore());
    const { gate, openBus } = watchedBus();
    const world = await openWorld(undefined, openBus);
    const { control } = await startWith(world, ["h0", "h1"]);
    gate.isHeld = ({ topic }) => {
      if (topic === "agent.heartbeats") throw new BusError("unreachable", "the bus is away", { retryable: true });
      return false;
    };
    const lost = () => control.health().turned_away.heartbeat_not_published ?? 0;
    for (let n = 1; n <= 15; n += 1) {
      for (const host of ["h0", "h1"])
        agentOf(world, host).say({ type: "heartbeat", heartbeat: world.fleet.beatOf(host) });
      while (lost() < 2 * n) await world.fleet.time.pass(250);
    }
    expect(warned.mock.calls.filter(([, text]) => text === "a heartbeat could not be published")).toHaveLength(20);
  });

  it("that tells one result many times, and another end of it, while it is on its way is counted, and the first is what counts", async () => {
    const { gate, openBus } = watchedBus();
    const world = await openWorld(undefined, openBus);
    const { control } = await startWith(world, ["h0", "h1"]);
    for (const hosts of [["h0"], ["h0", "h1"]]) {
      const agent = agentOf(world, "h0");
      for (const one of world.fleet.agents.values()) one.deed = () => null;
      const id = idOf(await control.submit(request({ targets: { hosts }, batch: { ramp: false } }), ann));
      await until(() => hosts.every((host) => agentOf(world, host).runs.has(`${id}.0`)));
      const before = control.health().turned_away.result_told_again ?? 0;
      gate.isHeld = ({ topic }) => topic === "agent.results";
      gate.held = 0;
      for (let n = 0; n < 10; n += 1) agent.say({ type: "result", result: resultOf(`${id}.0`, "h0") });
      agent.say({ type: "result", result: resultOf(`${id}.0`, "h0", { state: "failed" }) });
      await isHeard(agent);
      await until(() => gate.held === 1);
      expect(control.health().turned_away.result_told_again).toBe(before + 10);
      gate.isHeld = () => false;
      gate.open();
      if (hosts.length > 1) agentOf(world, "h1").finish(`${id}.0`, "succeeded");
      await until(() => control.job(id)?.job.state === "succeeded");
      await until(() => world.results.some(({ command_id }) => command_id === `${id}.0`));
      const told = world.results.filter(({ command_id, host }) => command_id === `${id}.0` && host === "h0");
      expect(told.map(({ state }) => state)).toEqual(["succeeded"]);
      expect(control.job(id)?.invocations.map(({ state }) => state)).toEqual(hosts.map(() => "succeeded"));
    }
  });

  it("puts no output into the job of another host", async () => {
    const world = await openWorld();
    const { control } = await startWith(world, ["h0", "h1"]);
    for (const agent of world.fleet.agents.values()) agent.deed = () => null;
    const id = idOf(await control.submit(request(), ann));
    await until(() => agentOf(world, "h0").runs.size === 1);
    const heard: JobEvent[] = [];
    control.follow(id, (event) => heard.push(event));
    for (const host of ["h1", "h0"]) {
      const output = { stream: "stdout", sequence: 0, data: Buffer.from(`of ${host}\n`).toString("base64") } as const;
      const progress = { command_id: `${id}.0`, host, at_unix_ms: 1, state: "running", output } as const;
      agentOf(world, host).say({ type: "progress", progress });
      await isHeard(agentOf(world, host));
    }
    expect(heard.flatMap((event) => (event.type === "output" ? [event.host] : []))).toEqual(["h0"]);
  });

  it("whose certificate is withdrawn is sent nothing more, though its site server leaves its session open", async () => {
    const world = await openWorld();
    const { control } = await startWith(world, ["h0", "h1"]);
    const agent = agentOf(world, "h0");
    const before = control.identities?.get("h0");
    const [certificate] = before?.certificates ?? [];
    if (before == null || certificate === undefined) throw new Error("no identity");
    const identity = {
      ...before,
      certificates: [{ ...certificate, serial: "abcdef" }],
      withdrawn: before.certificates,
    };
    const value = Buffer.from(JSON.stringify(identity));
    await world.bus.publish([world.fleet.proved({ topic: "agent.identities", key: identityKey(identity), value })]);
    await until(() => world.fleet.closed.some(({ host }) => host === "h0"));
    await control.submit(request({ targets: { hosts: ["h0", "h1"] }, batch: { ramp: false } }), ann);
    await until(() => agentOf(world, "h1").runs.size === 1);
    expect(agent.heard.filter(({ type }) => type === "command")).toEqual([]);
    expect(control.health().sessions).toBe(1);
  });
});

describe("the end of a job that is being written", () => {
  it("is written anew for a lost host that is heard of meanwhile, before that is acknowledged", async () => {
    const { gate, openBus } = watchedBus();
    const world = await openWorld(undefined, openBus);
    const { control } = await startWith(world, ["h0", "h1"]);
    const [h0, h1] = [agentOf(world, "h0"), agentOf(world, "h1")];
    for (const agent of [h0, h1]) agent.deed = () => null;
    const targets = { hosts: ["h0", "h1"] };
    const id = idOf(await control.submit(request({ targets, batch: { ramp: false, errors_max: 5 } }), ann));
    await until(() => h0.runs.size === 1 && h1.runs.size === 1);
    h0.finish(`${id}.0`, "lost");
    await until(() => control.job(id)?.job.counts.lost === 1);
    gate.isHeld = ({ topic, key }) => topic === "agent.jobs" && key === id;
    h1.finish(`${id}.0`, "succeeded");
    await until(() => gate.held === 1);
    h0.finish(`${id}.0`, "succeeded");
    await until(() => control.job(id)?.job.counts.succeeded === 1);
    gate.isHeld = () => false;
    gate.open();
    await until(() => control.jobs({})[0]?.counts.succeeded === 2);
    await world.fleet.time.pass(10_000);
    await until(() => h0.unacknowledged.size === 0);
  });

  it("is audited again when it comes to another end than the one that was", async () => {
    const world = await openWorld();
    const member = await startWith(world, ["h0"]);
    const agent = agentOf(world, "h0");
    agent.deed = () => null;
    const id = idOf(await member.control.submit(request(), ann));
    await until(() => agent.runs.size === 1);
    // A broker takes what is audited, control dies before the rest, and the host never comes back.
    [member.life.publishesLeft, member.life.partsTopics] = [1, true];
    agent.finish(`${id}.0`, "succeeded");
    await until(() => member.life.isDead);
    await world.fleet.kill(member);
    world.fleet.agents.delete("h0");
    const next = await world.fleet.member();
    undo.push(async () => next.control.stop());
    await world.fleet.lead(next);
    await world.fleet.time.pass(3_600_000);
    await until(() => next.control.jobs({})[0]?.state === "failed");
    const ends = (await next.control.audit.read(1, 100)).filter(({ what }) => what === "job.ended");
    expect(ends.map(({ details }) => [details.state, details.counts])).toEqual([
      ["succeeded", { succeeded: 1 }],
      ["failed", { lost: 1 }],
    ]);
  });

  it("takes its last result along while few wait for the bus; beyond, results go their own way, which has a bound", async () => {
    const { gate, published, openBus } = watchedBus();
    const world = await openWorld(undefined, openBus);
    const { control } = await startWith(world, ["h0"]);
    const agent = agentOf(world, "h0");
    agent.deed = () => null;
    const ids: string[] = [];
    for (let n = 0; n < 45; n += 1) ids.push(idOf(await control.submit(request(), ann)));
    gate.isHeld = () => true;
    published.length = 0;
    for (const id of ids)
      agent.say({ type: "result", result: resultOf(`${id}.0`, "h0", { stdout: `${id} ${"y".repeat(440_000)}` }) });
    await isHeard(agent);
    await until(() => published.some((all) => all.every((topic) => topic === "agent.results")));
    gate.isHeld = () => false;
    gate.open();
    await until(() => control.health().jobs_open === 0);
    for (const id of ids) expect(control.job(id)?.job.state).toBe("succeeded");
  });
});
