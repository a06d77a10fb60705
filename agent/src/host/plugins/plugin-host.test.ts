import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openHost, pack, pythonPlugin, runExecutor, shellPlugin, statusOf, wish } from "./plugin.fixture.ts";
import { PLUGIN_SERIES_MAX } from "./plugin-metrics.ts";

const SAY = `
word=$(printf '%s' "$request" | sed 's/.*"word":"\\([^"]*\\)".*/\\1/')
printf '{"output":"said %s"}\\n' "$word"
printf '%s\\n' '{"metric":{"name":"demo.words","value":1,"kind":"counter"}}'
printf '%s\\n' '{"result":{"state":"succeeded","exit_code":0}}'
`;

/** Whoever has ended may still wait for its parent to look. */
const isRunning = (pid: number): boolean => {
  try {
    return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw error;
  }
};

const _v = (version: string) => ({ version });
const started = async (packed: Parameters<typeof openHost>[0], more: Parameters<typeof openHost>[1] = {}) => {
  const test = openHost(packed, more);
  await test.host.start();
  return test;
};

describe("a static plugin", () => {
  it("is installed, answers calls, and measures", async () => {
    const packed = await pack(shellPlugin(SAY));
    const test = await started([packed]);
    await test.bring(wish(packed));
    expect(statusOf(test)).toMatchObject({ version: "1.0.0", state: "idle", last_failed: null, problem: "" });
    expect(readlinkSync(join(test.dir, "plugins/demo/current"))).toBe(`1.0.0-${packed.release.sha256.slice(0, 12)}`);
    const outcome = await runExecutor(test, "demo.say", { word: "hello" });
    expect(outcome).toMatchObject({ state: "succeeded", exitCode: 0, stdout: "said hello", pieces: ["said hello"] });
    test.host.collector.collect(0);
    expect(test.recorded).toEqual([{ name: "demo.words", labels: { plugin: "demo" }, value: 1 }]);
  });

  it("is never given arguments that its manifest does not name", async () => {
    const packed = await pack(shellPlugin(SAY));
    const test = await started([packed]);
    await test.bring(wish(packed));
    const refused = async (args: unknown) => {
      const outcome = await runExecutor(test, "demo.say", args);
      return "refused" in outcome ? outcome.refused : outcome;
    };
    expect(await refused({ word: "a", other: 1 })).toContain('Unrecognized key: "other"');
    expect(await refused({})).toContain("args.word");
    expect(await refused({ word: 7 })).toContain("args.word");
    expect(await refused(null)).toContain("args");
  });

  it("gets shell metacharacters as data, not as words of a shell", async () => {
    const packed = await pack(shellPlugin(SAY));
    const test = await started([packed]);
    await test.bring(wish(packed));
    const word = "$(touch /tmp/homeostat-owned); `id` && x | y > z";
    expect(await runExecutor(test, "demo.say", { word })).toMatchObject({ stdout: `said ${word}` });
    expect(existsSync("/tmp/homeostat-owned")).toBe(false);
  });

  it("that ends without a result has failed, and its exit code is told", async () => {
    const packed = await pack(shellPlugin("exit 7"));
    const test = await started([packed]);
    await test.bring(wish(packed));
    expect(await runExecutor(test, "demo.say", { word: "x" })).toMatchObject({
      state: "failed",
      exitCode: 7,
      message: "exit code 7, without a result",
    });
  });

  it.each([
    ["writes without end", 'yes \'{"output":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}\'', /lines without end/],
    ["writes one line without end", "tr '\\0' x < /dev/zero", /it wrote without end/],
    ["floods its stderr", "yes complaint >&2", /without end/],
  ])("that %s is ended", async (_, body, why) => {
    const packed = await pack(shellPlugin(body));
    const test = await started([packed]);
    await test.bring(wish(packed));
    const outcome = await runExecutor(test, "demo.say", { word: "x" });
    expect(outcome).toMatchObject({ state: "failed", message: expect.stringMatching(why) });
  });

  it("that hangs is ended when its time is over, with all its children", async () => {
    const packed = await pack(shellPlugin('sleep 1000 & printf \'{"output":"%s"}\\n\' $!; wait'));
    const test = await started([packed]);
    await test.bring(wish(packed));
    const time = new AbortController();
    const output = (_: string, data: Buffer) => {
      pid = Number(data.toString());
      time.abort();
      return null;
    };
    let pid = 0;
    const outcome = await runExecutor(test, "demo.say", { word: "x" }, { signal: time.signal, output });
    expect(outcome).toMatchObject({ state: "failed", message: expect.stringContaining("its time was over") });
    await expect.poll(() => isRunning(pid)).toBe(false);
  });

  it("whose lines make no sense goes on, and they are counted", async () => {
    const lines = ["nonsense", "[]", "{}", '{"metric":{"name":"x"}}', '{"output":1}', '{"result":{"state":"great"}}'];
    const body = `${lines.map((line) => `echo '${line}'`).join("\n")}\necho '{"result":{"state":"succeeded"}}'`;
    const packed = await pack(shellPlugin(body));
    const test = await started([packed]);
    await test.bring(wish(packed));
    expect(await runExecutor(test, "demo.say", { word: "x" })).toMatchObject({ state: "succeeded" });
    expect(statusOf(test)?.problem).toContain(`${lines.length} bad lines, the last: result: `);
    expect(test.host.problems()).toHaveLength(1);
  });

  it("may make so many series and no more", async () => {
    const body = `i=0; while [ $i -lt 250 ]; do echo '{"metric":{"name":"m","value":1,"attributes":{"i":"'$i'"}}}'; i=$((i+1)); done
echo '{"result":{"state":"succeeded"}}'`;
    const packed = await pack(shellPlugin(body));
    const test = await started([packed]);
    await test.bring(wish(packed));
    await runExecutor(test, "demo.say", { word: "x" });
    test.host.collector.collect(0);
    expect(test.recorded).toHaveLength(PLUGIN_SERIES_MAX);
    expect(statusOf(test)?.problem).toContain("50 values of too many series dropped");
  });

  it("keeps the label that names it, whatever it says", async () => {
    const body = `echo '{"metric":{"name":"m","value":1,"attributes":{"plugin":"cpu"}}}'; echo '{"result":{"state":"succeeded"}}'`;
    const packed = await pack(shellPlugin(body));
    const test = await started([packed]);
    await test.bring(wish(packed));
    await runExecutor(test, "demo.say", { word: "x" });
    test.host.collector.collect(0);
    expect(test.recorded).toMatchObject([{ labels: { plugin: "demo" } }]);
  });

  it("sees nothing of the agent's environment", async () => {
    const body = `printf '{"output":"%s"}\\n' "$(env | cut -d= -f1 | sort | tr '\\n' ' ')"; echo '{"result":{"state":"succeeded"}}'`;
    const packed = await pack(shellPlugin(body));
    const test = await started([packed]);
    await test.bring(wish(packed));
    const outcome = await runExecutor(test, "demo.say", { word: "x" });
    const names = "stdout" in outcome ? outcome.stdout.trim().split(" ") : [];
    expect(names.filter((name) => name !== "_")).toEqual([
      "HOME",
      "HOMEOSTAT_COMMAND",
      "HOMEOSTAT_PLUGIN",
      "LANG",
      "PATH",
      "PWD",
    ]);
  });

  it("writes what it logs and what it complains of into its own log, in the form that the tail reads", async () => {
    const body = `echo '{"log":{"body":"all is lost","severity":"error","attributes":{"disk":"sda"}}}'; echo oops >&2; echo '{"result":{"state":"succeeded"}}'`;
    const packed = await pack(shellPlugin(body));
    const test = await started([packed]);
    await test.bring(wish(packed));
    await runExecutor(test, "demo.say", { word: "x" });
    const lines = readFileSync(join(test.dir, "plugin-logs/demo.log"), "utf8").trim().split("\n");
    expect(lines.map((line) => JSON.parse(line)).sort((a, b) => (a.message < b.message ? -1 : 1))).toMatchObject([
      { plugin: "demo", level: "error", message: "all is lost", disk: "sda" },
      { plugin: "demo", level: "info", message: "oops", stream: "stderr" },
    ]);
  });

  it("is called to collect by itself", async () => {
    const body = `echo '{"metric":{"name":"m","value":2}}'; echo '{"result":{"state":"failed","message":"no disk"}}'`;
    const packed = await pack(shellPlugin(body, { collects: true, collect_interval_ms: 1_000 }));
    const test = await started([packed], { random: () => 0 });
    await test.bring(wish(packed));
    const status = await test.until("demo", ({ problem }) => problem !== "");
    expect(status.problem).toBe("it cannot collect: no disk");
    test.host.collector.collect(0);
    expect(test.recorded).toMatchObject([{ name: "m", value: 2 }]);
  });
});

describe("a resident plugin", () => {
  it("stays, answers calls by their ids, and goes when it is wished no longer", async () => {
    const packed = await pack(pythonPlugin(""));
    const test = await started([packed]);
    await test.bring(wish(packed));
    expect(statusOf(test)).toMatchObject({ state: "running" });
    const words = ["a", "b", "c"];
    const outcomes = await Promise.all(words.map((word) => runExecutor(test, "demo.say", { word })));
    expect(outcomes.map((outcome) => ("stdout" in outcome ? outcome.stdout : outcome))).toEqual(words);
    await test.bring();
    expect(test.executors.names()).toEqual(["exec.run"]);
    expect(statusOf(test)).toBeUndefined();
    expect(readdirSync(join(test.dir, "plugins"))).not.toContain("demo");
  });

  it.each([
    ["never says that it is ready", "def start(hello): pass", { ready_ms: 200 }, "not ready after 200 ms"],
    [
      "says that it is ill",
      'def health(id): say({"id": id, "result": {"state": "failed", "message": "no disk"}})',
      {},
      "no disk",
    ],
    ["does not answer for its health", "def health(id): pass", { timeout_ms: 100 }, "3 health checks failed"],
    ["falls over again and again", "sys.exit(3)", {}, "exit code 3"],
    ["writes without end", 'while True: say({"log": {"body": "x"}})', {}, "lines without end"],
    ["wants more memory than it may have", "x = [bytearray(1048576) for _ in range(4096)]", {}, "memory"],
  ])("that %s is given up after its restarts", async (_, body, health, why) => {
    const manifest = {
      health: { interval_ms: 200, timeout_ms: 30_000, ready_ms: 60_000, restarts_max: 0, ...health },
      limits: { memory_bytes: 268_435_456 },
    };
    const packed = await pack(pythonPlugin(body, manifest));
    const test = await started([packed]);
    await test.bring(wish(packed));
    const status = statusOf(test);
    expect(status).toMatchObject({ state: "failed", last_failed: { version: "1.0.0" } });
    expect(status?.last_failed?.reason).toContain(why);
    expect(status?.last_failed?.reason).toContain("(1 time in 10 minutes)");
    expect(test.executors.names()).toEqual(["exec.run"]);
  });

  it("that falls over is started anew, and the call that ran has failed", async () => {
    const packed = await pack(pythonPlugin("def execute(id, executor, args): os._exit(9)"));
    const test = await started([packed]);
    await test.bring(wish(packed));
    const outcome = await runExecutor(test, "demo.say", { word: "x" });
    expect(outcome).toMatchObject({ state: "failed", message: "the plugin ended while the call ran: exit code 9" });
    await test.until("demo", ({ state }) => state === "running");
  });

  it("that does not heed a cancellation is ended", async () => {
    const packed = await pack(pythonPlugin('def execute(id, executor, args): say({"id": id, "output": "begun"})'));
    const test = await started([packed]);
    await test.bring(wish(packed));
    const time = new AbortController();
    const output = () => {
      time.abort();
      return null;
    };
    const outcome = await runExecutor(test, "demo.say", { word: "x" }, { signal: time.signal, output });
    expect(outcome).toMatchObject({ state: "failed", message: expect.stringContaining("did not heed") });
  });

  it("is stopped in order: it may tidy up when its stdin ends", async () => {
    const packed = await pack(pythonPlugin('import atexit\natexit.register(lambda: open("left", "w").write("tidy"))'));
    const test = await started([packed]);
    await test.bring(wish(packed));
    await test.host.stop();
    expect(readFileSync(join(test.dir, "plugins/demo/current/root/left"), "utf8")).toBe("tidy");
  });
});
