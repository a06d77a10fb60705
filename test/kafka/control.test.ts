import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ann, type Member, until } from "../../agent/src/control/control-fleet.fixture.ts";
import { createKafkaBus } from "../../app/src/kafka/index.ts";
import { type Job, JobRequest, topics } from "../../schemas/src/index.ts";
import { log, openWorld, startWith, undo, type World } from "../contract/control-world.ts";
import { Broker } from "./broker.ts";
import { type Fate, FaultProxy } from "./fault-proxy.ts";

/* Control planes on a real broker, with a proxy before it that loses requests to append to the audit log, or their answers. */

let broker: Broker;
let proxy: FaultProxy;

beforeEach(async () => {
  proxy = await FaultProxy.listen("audit");
  broker = await Broker.create(proxy.port);
  proxy.leadTo(broker.address);
  await broker.start();
}, 120_000);
// Behind what control-world.ts undoes, which needs the broker.
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
  await proxy.close();
  await broker.dispose();
}, 120_000);

const openOnKafka = (): Promise<World> =>
  openWorld(undefined, () =>
    createKafkaBus({
      brokers: [`127.0.0.1:${proxy.port}`],
      clientId: "control",
      topics: topics(),
      log,
      heartbeatMs: 200,
    }),
  );

const hosts = Array.from({ length: 5 }, (_, index) => `h${index}`);
const request = JobRequest.parse({ executor: "service.restart", args: {}, targets: { labels: "*" } });
const accepted = (value: object): Job => {
  if ("refused" in value) throw new Error(JSON.stringify(value));
  return value as Job;
};

/** Time passes until it leads again, after a term that has ended in doubt. */
const leads = async ({ fleet }: World, { control }: Member): Promise<void> => {
  const role = async () => {
    await fleet.time.pass(1_000);
    return control.health().role;
  };
  if (control.health().role !== "leader") await expect.poll(role, { timeout: 60_000 }).toBe("leader");
};

/** Appends entries one by one, each asked for once, since nobody knows of one that was refused whether it is there. */
const appendAll = async (
  world: World,
  member: Member,
  { count, details, before }: { count: number; details: object; before?: (n: number) => Promise<void> },
): Promise<{ readonly taken: string[]; readonly doubtful: string[] }> => {
  const [taken, doubtful]: [string[], string[]] = [[], []];
  for (let n = 0; n < count; n += 1) {
    await before?.(n);
    await leads(world, member);
    await member.control.audit.append("ann", "agent.noted", `n${n}`, { ...details }).then(
      () => taken.push(`n${n}`),
      () => doubtful.push(`n${n}`),
    );
  }
  await leads(world, member);
  return { taken, doubtful };
};

const notedIn = async ({ control }: Member): Promise<string[]> =>
  (await control.audit.read(1, 1_000)).filter(({ what }) => what === "agent.noted").map(({ subject }) => subject);

const expectWhole = async (member: Member, { taken, doubtful }: { taken: string[]; doubtful: string[] }) => {
  expect(await member.control.audit.verify()).toMatchObject({ ok: true });
  const noted = await notedIn(member);
  expect(new Set(noted).size).toBe(noted.length);
  expect(noted.filter((subject) => !doubtful.includes(subject))).toEqual(taken);
};

describe("control on Apache Kafka", { timeout: 120_000 }, () => {
  it("runs a job on every host once, goes on under another leader, and its audit log is whole", async () => {
    const world = await openOnKafka();
    const first = await startWith(world, hosts);
    const before = accepted(await first.control.submit(request, ann));
    await until(() => first.control.job(before.job_id)?.job.state === "succeeded");
    for (const agent of world.fleet.agents.values()) agent.deed = () => null;
    const open = accepted(await first.control.submit({ ...request, batch: { ...request.batch, ramp: false } }, ann));
    await until(() => [...world.fleet.agents.values()].every(({ runs }) => runs.size === 2));
    await world.fleet.kill(first);
    const second = await world.fleet.member();
    undo.push(async () => second.control.stop());
    await world.fleet.lead(second);
    for (const agent of world.fleet.agents.values()) agent.finish(`${open.job_id}.0`, "succeeded");
    await until(() => second.control.job(open.job_id)?.job.state === "succeeded");
    for (const agent of world.fleet.agents.values()) expect([...agent.runs.values()]).toEqual([1, 1]);
    await until(() => world.results.length >= 2 * hosts.length);
    expect(second.control.job(before.job_id)?.job.counts).toEqual({ succeeded: hosts.length });
    expect(await second.control.audit.verify()).toMatchObject({ ok: true, records: 4 });
  });

  it("has each record once in its audit log, in one chain, when answers and requests are lost on the way", async () => {
    const world = await openOnKafka();
    const member = await startWith(world, ["h0"]);
    const fates: readonly Fate[] = ["pass", "lose answer", "pass", "lose answer", "lose answer", "lose request"];
    let asked = 0;
    proxy.fate = () => {
      asked += 1;
      return fates[asked % fates.length] ?? "pass";
    };
    const told = await appendAll(world, member, { count: 20, details: {} });
    expect(proxy.broken).toBeGreaterThan(5);
    await expectWhole(member, told);
  });

  it("has each record once in its audit log, in one chain, when the broker is killed and comes back", async () => {
    const world = await openOnKafka();
    const member = await startWith(world, ["h0"]);
    let back: Promise<void> = Promise.resolve();
    const told = await appendAll(world, member, {
      count: 20,
      details: {},
      before: async (n) => {
        if (n === 10) back = broker.kill().then(() => broker.start());
      },
    });
    await back;
    await expectWhole(member, told);
  });

  it("has no half of a publish in its audit log, when the connection breaks in the middle of a large one", async () => {
    const world = await openOnKafka();
    const member = await startWith(world, ["h0"]);
    const details = { text: "x".repeat(100_000) };
    let asked = 0;
    proxy.fate = () => {
      asked += 1;
      return asked === 1 ? "pass" : "lose request";
    };
    const entries = Array.from({ length: 30 }, (_, n) => `n${n}`);
    const results = await Promise.allSettled(
      entries.map((subject) => member.control.audit.append("ann", "agent.noted", subject, details)),
    );
    proxy.fate = () => "pass";
    const doubtful = entries.filter((_, n) => results[n]?.status === "rejected");
    const taken = entries.filter((_, n) => results[n]?.status === "fulfilled");
    expect(doubtful.length).toBeGreaterThan(0);
    await leads(world, member);
    await member.control.audit.append("ann", "agent.noted", "after", {});
    await expectWhole(member, { taken: [...taken, "after"], doubtful });
  });
});
