import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

/* The real supervisor and real processes; what it runs are releases of a few lines that behave as a bad or a good version would. */

const SUPERVISOR = join(import.meta.dirname, "..", "..", "agent", "bin", "homeostat-agent.sh");
const LOOK_MS = 50;
const TEST_MS_MAX = 120_000;
/** Longer than a good version takes to say so on a machine that is busy; and of those that never do. */
const TRIAL_S = "60";
const SHORT_TRIAL_S = "4";
const BACK_OFF_S_MAX = "1";

let root: string;
let dir: string;
let supervisor: ChildProcess | null;

/** Every release tells on a line of `ran` that it was started; from then on it heeds signals, where it does at all. */
const BEHAVIOURS = {
  good: `stay(); tell(); write("healthy", process.pid);`,
  crashes: `tell(); process.exit(3);`,
  hangs: `tell(); for (;;);`,
  "never well": `stay(); tell();`,
} as const;

const makeRelease = (folder: string, name: string, behaviour: keyof typeof BEHAVIOURS): void => {
  mkdirSync(join(folder, "bin"), { recursive: true });
  const script = [
    `import { appendFileSync, writeFileSync, renameSync } from "node:fs";`,
    `const dir = ${JSON.stringify(dir)};`,
    `const write = (file, text) => { writeFileSync(dir + "/update/" + file + ".tmp", text + "\\n"); renameSync(dir + "/update/" + file + ".tmp", dir + "/update/" + file); };`,
    `const stay = () => { setInterval(() => undefined, 1_000); process.on("SIGTERM", () => process.exit(0)); process.on("SIGUSR2", () => process.exit(75)); };`,
    `const tell = () => appendFileSync(dir + "/ran", ${JSON.stringify(name)} + " " + process.pid + "\\n");`,
    BEHAVIOURS[behaviour],
  ].join("\n");
  writeFileSync(join(folder, "bin", "homeostat-agent.mjs"), script);
};

const version = (name: string, behaviour: keyof typeof BEHAVIOURS): void =>
  makeRelease(join(dir, "versions", name), name, behaviour);

const state = (file: string): string => {
  const path = join(dir, "update", file);
  return existsSync(path) ? readFileSync(path, "utf8").trim() : "";
};
const put = (file: string, text: string): void => {
  mkdirSync(join(dir, "update", "bad"), { recursive: true });
  writeFileSync(join(dir, "update", file), `${text}\n`);
};
const ran = (): { name: string; pid: number }[] =>
  (existsSync(join(dir, "ran")) ? readFileSync(join(dir, "ran"), "utf8") : "")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => ({ name: line.split(" ")[0] ?? "", pid: Number(line.split(" ")[1]) }));
/** A zombie has ended: whether somebody fetches it is up to the machine. */
const isAlive = (pid: number): boolean => {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
};
const now = (): { name: string; pid: number } | undefined => {
  const last = ran().at(-1);
  return last !== undefined && isAlive(last.pid) ? last : undefined;
};
const until = (holds: () => boolean): Promise<unknown> =>
  vi.waitUntil(holds, { interval: LOOK_MS, timeout: TEST_MS_MAX });
const start = ({ stderr = "ignore", trialS = TRIAL_S }: { stderr?: number | "ignore"; trialS?: string } = {}): void => {
  const args = [
    SUPERVISOR,
    process.execPath,
    join(root, "first"),
    join(root, "agent.yaml"),
    dir,
    trialS,
    BACK_OFF_S_MAX,
  ];
  supervisor = spawn("/bin/sh", args, { stdio: ["ignore", "ignore", stderr] });
};
/** As the agent does: what is to be tried is put ready, then it ends. */
const update = (name: string): void => {
  const running = now();
  if (running === undefined) throw new Error("no agent runs");
  put("next", name);
  process.kill(running.pid, "SIGUSR2");
};

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "agent-update-"));
  dir = join(root, "state");
  mkdirSync(dir);
  supervisor = null;
  makeRelease(join(root, "first"), "first", "good");
});
afterEach(async () => {
  const ended = supervisor === null ? Promise.resolve() : new Promise((resolve) => supervisor?.once("exit", resolve));
  if (supervisor?.exitCode === null && supervisor.signalCode === null) {
    supervisor.kill("SIGTERM");
    await ended;
  }
  for (const { pid } of ran()) if (isAlive(pid)) process.kill(pid, "SIGKILL");
  rmSync(root, { recursive: true, force: true });
});

describe("an update of the agent", { timeout: TEST_MS_MAX }, () => {
  test("stays when the new version says that it is well", async () => {
    version("2.0.0", "good");
    start();
    await until(() => now()?.name === "first");
    update("2.0.0");
    await until(() => state("current") === "2.0.0" && state("trial") === "");
    expect(now()?.name).toBe("2.0.0");
    expect(state("next")).toBe("");
  });

  test.each([
    ["crashes", TRIAL_S, "it ended with 3 before it was healthy"],
    ["hangs", SHORT_TRIAL_S, `it did not become healthy within ${SHORT_TRIAL_S} s`],
    ["never well", SHORT_TRIAL_S, `it did not become healthy within ${SHORT_TRIAL_S} s`],
  ] as const)("is taken back when the new version %s", async (behaviour, trialS, reason) => {
    version("2.0.0", behaviour);
    start({ trialS });
    await until(() => now()?.name === "first");
    update("2.0.0");
    await until(() => state("bad/2.0.0") !== "" && now()?.name === "first");
    expect(state("bad/2.0.0")).toBe(reason);
    expect(state("current")).toBe("");
    expect(ran().map(({ name }) => name)).toEqual(["first", "2.0.0", "first"]);
  });

  test("is never tried again once it has failed", async () => {
    version("2.0.0", "good");
    put("bad/2.0.0", "it failed before");
    start();
    await until(() => now()?.name === "first");
    update("2.0.0");
    await until(() => ran().length === 2 && now()?.name === "first");
    expect(ran().every(({ name }) => name === "first")).toBe(true);
    expect(state("next")).toBe("");
  });

  test("to a name that leads elsewhere is not followed", async () => {
    start();
    await until(() => now()?.name === "first");
    update("../../first");
    await until(() => ran().length === 2 && state("next") === "");
    expect(now()?.name).toBe("first");
  });
});

describe("the supervisor", { timeout: TEST_MS_MAX }, () => {
  test("starts the agent again when it is killed", async () => {
    start();
    await until(() => now() !== undefined);
    const first = now()?.pid ?? 0;
    process.kill(first, "SIGKILL");
    await until(() => now() !== undefined && now()?.pid !== first);
    expect(state("exits")).toBe("1 137");
  });

  test("says nothing of an agent before it that has ended", async () => {
    const said = join(root, "stderr");
    const file = openSync(said, "w");
    // Higher than any pid of Linux.
    put("pid", "4194305");
    start({ stderr: file });
    closeSync(file);
    await until(() => now()?.name === "first");
    expect(readFileSync(said, "utf8")).toBe("");
  });

  test("that comes after one that was killed ends the agent that was left behind, so that never two run", async () => {
    start();
    await until(() => now() !== undefined);
    const orphan = now()?.pid ?? 0;
    const ended = new Promise((resolve) => supervisor?.once("exit", resolve));
    supervisor?.kill("SIGKILL");
    await ended;
    expect(isAlive(orphan)).toBe(true);
    start();
    await until(() => now() !== undefined && now()?.pid !== orphan);
    expect(isAlive(orphan)).toBe(false);
  });

  test("does not run beside another in the same directory, and leaves the other's agent alone", async () => {
    start();
    await until(() => now() !== undefined);
    const first = supervisor;
    const { pid } = now() ?? { pid: 0 };
    const said = join(root, "stderr");
    const file = openSync(said, "w");
    start({ stderr: file });
    closeSync(file);
    const second = supervisor;
    supervisor = first;
    expect(await new Promise((resolve) => second?.once("exit", resolve))).toBe(1);
    expect(readFileSync(said, "utf8")).toContain(`another supervisor runs an agent in ${dir} already`);
    expect(ran()).toHaveLength(1);
    expect(isAlive(pid)).toBe(true);
  });

  test("ends the agent and itself when it is told to", async () => {
    start();
    await until(() => now() !== undefined);
    const { pid } = now() ?? { pid: 0 };
    const ended = new Promise((resolve) => supervisor?.once("exit", resolve));
    supervisor?.kill("SIGTERM");
    expect(await ended).toBe(0);
    expect(isAlive(pid)).toBe(false);
  });

  test("goes back to the version before when the current one does not last", async () => {
    version("1.0.0", "good");
    version("2.0.0", "crashes");
    put("current", "2.0.0");
    put("previous", "1.0.0");
    start();
    await until(() => now()?.name === "1.0.0");
    expect(state("current")).toBe("1.0.0");
    expect(state("bad/2.0.0")).toContain("5 times in a row");
  });

  // Each row is what a kill or a power cut at one point of an update leaves behind.
  test.each([
    ["before the new version was put ready", {}, "1.0.0", ""],
    ["after it was put ready", { next: "2.0.0" }, "2.0.0", ""],
    ["in its trial", { trial: "2.0.0" }, "1.0.0", "the supervisor or the machine ended during its trial"],
    ["after it was kept, before the trial was closed", { trial: "2.0.0", current: "2.0.0" }, "2.0.0", ""],
    ["while a file was being written", { "current.new": "2.0." }, "1.0.0", ""],
  ] as const)("has one good version running after a power cut %s", async (_, files, expected, bad) => {
    version("1.0.0", "good");
    version("2.0.0", "good");
    put("current", "1.0.0");
    for (const [file, text] of Object.entries(files)) put(file, text);
    start();
    await until(() => now()?.name === expected && state("trial") === "" && state("next") === "");
    expect(state("bad/2.0.0")).toBe(bad);
  });
});
