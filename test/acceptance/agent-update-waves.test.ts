import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Person, type Said, SitePlatform, TOKENS, until, well } from "./agent-platform.ts";

/* A fleet of real agents under their supervisors, each with a directory of its own, that is given two new versions from the command line. */

const HOSTS = ["web-1", "web-2", "web-3", "web-4", "web-5"];
/** Waves of 1, 2 and 2. */
const WAVE_MAX = 2;

let site: SitePlatform;

const as = (who: Person) => site.as(who);

interface Seen {
  readonly host: string;
  readonly agent_version: string;
  readonly server: string | null;
  readonly problems: readonly string[];
}
interface SeenJob {
  readonly job_id: string;
  readonly state: string;
  readonly counts: Readonly<Record<string, number>>;
  readonly message: string;
}
const ask = async <T>(path: string, body?: object): Promise<T> => {
  const headers = { authorization: `Bearer ${TOKENS.root}`, "content-type": "application/json" };
  const init = body === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(body) };
  return (await (await site.platform.api(path, init)).json()) as T;
};
const agents = async (): Promise<readonly Seen[]> =>
  (await ask<{ agents: Seen[] }>("/api/v1/agents?site=berlin")).agents.filter(({ host }) => HOSTS.includes(host));
const jobOf = async (id: string): Promise<SeenJob> => (await ask<{ job: SeenJob }>(`/api/v1/jobs/${id}`)).job;

const startAgent = async (host: string, token: string): Promise<void> => {
  const config = site.write(`${host}.json`, {
    dir: join(site.root, host),
    // What a machine that is busy makes of an agent is no matter here.
    limits: { cpu_percent: 400, memory_bytes: 1_073_741_824 },
    update: { trusted_keys: [site.publisher.publicKey], healthy_within_ms: 120_000 },
    agent: { heartbeat_ms: 1000, commands: [{ name: "hello", command: "/bin/echo", args: ["hello"] }] },
  });
  await site.startAgent(host, { token, config });
};

beforeAll(async () => {
  site = await SitePlatform.start();
  const token = await site.token("--uses", String(HOSTS.length));
  await Promise.all(HOSTS.map((host) => startAgent(host, token)));
  await until(agents, (seen) => seen.length === HOSTS.length && seen.every(({ server }) => server !== null));
});

afterAll(() => site.stop());

/** Asked for by one person, approved by another, and shown to its end. */
const rollOut = async (...args: readonly string[]): Promise<Said> => {
  const rolling = as("root")("agents", "update", ...args, "--site", "berlin", "--concurrency", String(WAVE_MAX));
  const waiting = "/api/v1/jobs?executor=agent.update&state=awaiting_approval";
  const { jobs } = await until(
    () => ask<{ jobs: SeenJob[] }>(waiting),
    ({ jobs }) => jobs.length > 0,
  );
  well(await as("ada")("approve", jobs[0]?.job_id ?? ""));
  return rolling;
};

const COMMAND_EVERY_MS = 250;

/** Commands for everybody while it goes on, and who was without a channel meanwhile. */
const underCommands = async <T>(work: () => Promise<T>): Promise<{ done: T; jobs: SeenJob[]; cutOffMax: number }> => {
  let isOver = false;
  let cutOffMax = 0;
  const ids: string[] = [];
  const send = async (): Promise<void> => {
    const batch = { ramp: false, errors_max: HOSTS.length };
    while (!isOver) {
      const request = { executor: "exec.run", args: { name: "hello" }, targets: { hosts: HOSTS }, batch };
      ids.push((await ask<{ job: SeenJob }>("/api/v1/jobs", request)).job.job_id);
      cutOffMax = Math.max(cutOffMax, (await agents()).filter(({ server }) => server === null).length);
      await delay(COMMAND_EVERY_MS);
    }
  };
  const sending = send();
  const done = await work();
  isOver = true;
  await sending;
  const jobs = await Promise.all(
    ids.map((id) =>
      until(
        () => jobOf(id),
        ({ state }) => state !== "running",
      ),
    ),
  );
  return { done, jobs, cutOffMax };
};

describe("a fleet that is given a new version in waves", { timeout: 180_000 }, () => {
  test("runs it everywhere when it is good: no command is lost, and never are more hosts cut off than a wave holds", async () => {
    const good = await site.pack("0.2.0", false);
    const { done, jobs, cutOffMax } = await underCommands(() => rollOut("--release", good));
    well(done);
    expect(done.err).toContain(`succeeded (${HOSTS.length} succeeded)`);
    expect((await agents()).map(({ agent_version }) => agent_version)).toEqual(HOSTS.map(() => "0.2.0"));
    expect(cutOffMax).toBeLessThanOrEqual(WAVE_MAX);
    expect(jobs.length).toBeGreaterThan(0);
    for (const job of jobs) expect(job).toMatchObject({ state: "succeeded", counts: { succeeded: HOSTS.length } });
    const again = await as("olga")("agents", "update", "--version", "0.2.0", "--site", "berlin");
    expect(again).toMatchObject({ code: 0, err: expect.stringContaining("all of them run 0.2.0 already") });
  });

  test("is left as it was when it is bad: the first host takes it back, nobody else is told, and all of that is said", async () => {
    const bad = await site.pack("0.3.0", true);
    const { done, jobs } = await underCommands(() => rollOut("--release", bad));
    expect(done.code).toBe(1);
    expect(done.err).toContain("rolled back to 0.2.0: it ended with 3 before it was healthy");
    expect(done.err).toContain("1 errors, more than 0: 4 hosts are sent nothing");
    const said = (all: readonly Seen[]) => all.flatMap(({ problems }) => problems);
    const seen = await until(agents, (all) => said(all).length === 1 && said(all)[0]?.includes("was tried") === true);
    expect(seen.map(({ agent_version }) => agent_version)).toEqual(HOSTS.map(() => "0.2.0"));
    expect(said(seen)).toEqual([expect.stringContaining("version 0.3.0 was tried")]);
    expect(well(await as("olga")("agents", "--site", "berlin")).out).toContain("1: update: version 0.3.0 was tried");
    const { jobs: updates } = JSON.parse(
      well(await as("olga")("jobs", "--executor", "agent.update", "--state", "failed", "--json")).out,
    ) as { jobs: SeenJob[] };
    expect(updates).toMatchObject([{ state: "failed", counts: { failed: 1, queued: 4 } }]);
    for (const job of jobs) expect(job).toMatchObject({ state: "succeeded", counts: { succeeded: HOSTS.length } });
    expect(well(await as("root")("audit", "verify")).out).toContain("whole");
  });
});
