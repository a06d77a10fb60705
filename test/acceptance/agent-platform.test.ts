import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { agentCli, offline, type Person, type Said, SitePlatform, until, well } from "./agent-platform.ts";

/* What a newcomer does in the first hour, with real processes: a platform with a site, a host beside it, and the command line alone. */

const EXAMPLES = join(import.meta.dirname, "..", "..", "examples", "plugins");

let site: SitePlatform;

const as = (who: Person) => site.as(who);
const commands = [
  { name: "hello", command: "/bin/echo", args: ["hello"] },
  { name: "both", command: "/bin/sh", args: ["-c", "echo out; echo err >&2; exit 7"] },
  { name: "long", command: "/bin/sleep", args: ["60"] },
];

const agentNamed = async (host: string) => {
  const { agents } = JSON.parse(well(await as("root")("agents", "--json")).out) as {
    agents: { host: string; state: string; agent_version: string; plugins: { name: string; state: string }[] }[];
  };
  return agents.find((agent) => agent.host === host);
};
const waitingJob = async (executor: string): Promise<string> => {
  const { jobs } = await until(
    async () =>
      JSON.parse((await as("ada")("jobs", "--state", "awaiting_approval", "--executor", executor, "--json")).out) as {
        jobs: { job_id: string }[];
      },
    ({ jobs }) => jobs.length > 0,
  );
  return jobs[0]?.job_id ?? "";
};

beforeAll(async () => {
  site = await SitePlatform.start({
    agent: { host: "hub-1", labels: { role: "hub" }, heartbeat_ms: 1000, commands },
  });
  const { root, release, publisher } = site;
  const config = site.write("agent.yaml", {
    dir: join(root, "agent"),
    update: { trusted_keys: [publisher.publicKey], healthy_within_ms: 120_000 },
    trust: { plugin_keys: [publisher.publicKey] },
    agent: {
      labels: { role: "web" },
      heartbeat_ms: 1000,
      commands,
      shell: { enabled: true, command: ["/bin/sh"] },
    },
  });
  const unenrolled = await agentCli(["run", "--config", config], release);
  expect(unenrolled).toMatchObject({ code: 78 });
  expect(unenrolled.err).toContain("enroll");
  await site.startAgent("web-1", { token: await site.token("--host", "web-1"), config });
  for (const host of ["hub-1", "web-1"])
    await until(
      () => agentNamed(host),
      (agent) => agent?.agent_version === "0.1.0" && agent.state === "online",
    );
});

afterAll(async () => {
  const exitCodes = await site.endAgents();
  await site.stop();
  expect(exitCodes).toEqual([0]);
});

describe("the platform with a second host", () => {
  test("runs commands on hosts by name, label, site and share, prints what they say, and exits as scripts need it", async () => {
    const run = as("olga");
    expect(well(await run("run", "hello", "--on", "hub-1")).out).toBe("hello\n");
    expect(well(await run("run", "hello", "--labels", "role=web")).out).toBe("hello\n");
    expect(well(await run("run", "hello", "--site", "berlin")).out).toBe("hello\n");
    expect(
      well(await run("run", "hello", "--all"))
        .out.split("\n")
        .toSorted(),
    ).toEqual(["", "[hub-1] hello", "[web-1] hello"]);
    const half = JSON.parse(well(await run("run", "hello", "--all", "--percent", "50", "--dry-run", "--json")).out);
    expect(half.hosts).toHaveLength(1);
    const both = await run("run", "both", "--on", "web-1", "--exit-code");
    expect(both).toMatchObject({ code: 7, out: "out\n" });
    expect(both.err).toContain("err\n");
    expect(await run("run", "hello", "--on", "nobody-1")).toMatchObject({ code: 2 });
    expect(await run("run", "not-declared", "--on", "web-1")).toMatchObject({ code: 4 });
  });

  test("cancels what runs, for good", async () => {
    const job = well(await as("olga")("run", "long", "--on", "web-1", "--detach")).out.trim();
    well(await as("olga")("cancel", job, "--note", "enough"));
    const ended = await as("olga")("job", job, "--wait-for", "100s");
    expect(ended.code).toBe(1);
    expect(ended.err).toContain("cancelled");
  });

  test("has what is destructive wait for another person, and lets nobody approve without the role", async () => {
    const job = well(await as("olga")("run", "hello", "--on", "web-1", "--risk", "destructive", "--detach")).out.trim();
    expect(await as("olga")("approve", job)).toMatchObject({ code: 4 });
    well(await as("ada")("approve", job));
    expect(well(await as("olga")("job", job, "--wait-for", "100s")).out).toBe("hello\n");
  });

  test("refuses a session at once on the agent that takes no keys", async () => {
    const refused = await as("olga")("shell", "hub-1");
    expect(refused.code).not.toBe(0);
    expect(refused.err).toContain("takes no keys");
  });

  test("installs a plugin on both agents, has its executor called by its own risk, and takes it away again", async () => {
    const { root, publisher } = site;
    mkdirSync(join(root, "queue"));
    const config = site.write("queue.json", { directory: join(root, "queue") });
    const artefact = join(root, "queue-watch.tar.gz");
    well(await as("root")("plugins", "status"));
    well(await offline("plugins", "pack", join(EXAMPLES, "queue-watch"), "--key", publisher.key, "--out", artefact));
    well(await as("root")("plugins", "publish", artefact));
    const wish = ["plugins", "wish", "queue-watch", "--version", "1.0.0", "--all", "--at-once", "--config", config];
    well(await as("root")(...wish));
    for (const host of ["hub-1", "web-1"])
      await until(
        () => agentNamed(host),
        (agent) => agent?.plugins.find(({ name }) => name === "queue-watch")?.state === "running",
      );
    well(await as("olga")("run", "queue.oldest", "--all"));
    well(await as("root")("plugins", "unwish", "queue-watch", "--all"));
    for (const host of ["hub-1", "web-1"])
      await until(
        () => agentNamed(host),
        (agent) => agent?.plugins.every(({ name }) => name !== "queue-watch") === true,
      );
  });

  test("updates the agent to a good version, takes a bad one back, and says truly what became of both", {
    timeout: 180_000,
  }, async () => {
    const publish = async (version: string, spoil: boolean): Promise<string> => {
      const artefact = await site.pack(version, spoil);
      well(await as("root")("plugins", "publish", artefact));
      const { sha256, size_bytes, key_id, signature } = JSON.parse(readFileSync(`${artefact}.release.json`, "utf8"));
      return JSON.stringify({ version, sha256, size_bytes, key_id, signature });
    };
    const update = async (args: string): Promise<Said> => {
      const done = as("olga")("run", "agent.update", "--args", args, "--on", "web-1", "--wait-for", "115s");
      well(await as("ada")("approve", await waitingJob("agent.update")));
      return done;
    };
    well(await update(await publish("0.2.0", false)));
    await until(
      () => agentNamed("web-1"),
      (agent) => agent?.agent_version === "0.2.0",
    );
    const bad = await update(await publish("0.3.0", true));
    expect(bad.code).toBe(1);
    expect(bad.err).toContain("rolled back to 0.2.0");
    expect(well(await as("olga")("run", "hello", "--on", "web-1")).out).toBe("hello\n");
  });

  test("sends nothing to a host in quarantine, cuts off a revoked one, and its audit log is whole", async () => {
    well(await as("root")("enroll", "quarantine", "web-1", "--reason", "odd logins"));
    const quarantined = await as("olga")("run", "hello", "--on", "web-1");
    expect(quarantined.code).not.toBe(0);
    expect(quarantined.err).toContain("quarantined");
    well(await as("root")("enroll", "readmit", "web-1"));
    expect(well(await as("olga")("run", "hello", "--on", "web-1")).out).toBe("hello\n");
    well(await as("root")("enroll", "revoke", "web-1", "--reason", "gone"));
    expect((await agentNamed("web-1"))?.state).toBe("revoked");
    expect(well(await as("root")("audit", "verify")).out).toContain("whole");
  });
});
