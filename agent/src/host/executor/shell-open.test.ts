import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CANCELLED, type Execution, type Outcome } from "./executor.ts";
import { markedProcesses } from "./marked-processes.ts";
import { ShellConfig } from "./shell-config.ts";
import { shellOpen } from "./shell-open.ts";

const UID = process.getuid?.() ?? -1;
const SH = ["/bin/sh"];

/** A person at a terminal: types, and waits until the screen shows what is expected. */
const person = () => {
  let screen = "";
  let look: () => void = () => undefined;
  const early: Buffer[] = [];
  let type: (data: Buffer) => void = (data) => void early.push(data);
  let size: (columns: number, rows: number) => void = () => undefined;
  const timeIsOver = new AbortController();
  const mark = { name: "HOMEOSTAT_COMMAND", value: randomUUID() };
  const execution: Execution = {
    commandId: "c",
    requestedBy: "ann",
    signal: timeIsOver.signal,
    timeoutMs: 60_000,
    outputBytesMax: 0,
    limits: {},
    mark,
    noteChild: () => undefined,
    output: (stream, data) => {
      expect(stream).toBe("pty");
      screen += data.toString("utf8");
      look();
      return null;
    },
    input: {
      onData: (listener) => {
        type = listener;
        early.forEach(listener);
      },
      onResize: (listener) => {
        size = listener;
      },
    },
  };
  const sees = (pattern: RegExp): Promise<RegExpExecArray> =>
    new Promise((resolve) => {
      look = () => {
        const found = pattern.exec(screen);
        if (found !== null) resolve(found);
      };
      look();
    });
  return {
    execution,
    mark,
    sees,
    screen: () => screen,
    types: (text: string | Buffer) => type(Buffer.from(text)),
    resizes: (columns: number, rows: number) => size(columns, rows),
    waitsTooLong: () => timeIsOver.abort(),
    isCancelled: () => timeIsOver.abort(CANCELLED),
  };
};

let running: Promise<Outcome>[] = [];
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "homeostat-shell-"));
});
afterEach(async () => {
  await Promise.all(running);
  running = [];
  rmSync(dir, { recursive: true });
});

const open = (one: ReturnType<typeof person>, config: object = {}, args: object = {}): Promise<Outcome> => {
  const executor = shellOpen({
    config: ShellConfig.parse({ enabled: true, command: SH, ...config }),
    proc: "/proc",
    uid: UID,
  });
  const prepared = executor.prepare(args);
  if ("refused" in prepared) throw new Error(prepared.refused);
  const outcome = prepared.run(one.execution);
  running.push(outcome);
  return outcome;
};

describe("a session", () => {
  it("is a terminal of the size that was asked for, and hears when that changes", async () => {
    const ann = person();
    const outcome = open(ann, {}, { columns: 91, rows: 17, term: "vt100" });
    ann.types("tty; stty size; echo term=$TERM\n");
    await ann.sees(/\/dev\/pts\/\d+\r\n17 91\r\nterm=vt100/);
    ann.resizes(120, 40);
    ann.types("stty size\n");
    await ann.sees(/40 120\r\n/);
    ann.types("exit 3\n");
    expect(await outcome).toMatchObject({
      state: "succeeded",
      exitCode: 3,
      stdout: "",
      message: "the session ended with exit code 3",
    });
  });

  it("gives Ctrl-C to what runs in the foreground, and goes on", async () => {
    const ann = person();
    const outcome = open(ann);
    ann.types("PS1='ready> '\n");
    await ann.sees(/ready> $/);
    ann.types("sh -c 'echo began=$((1+1)); exec sleep 1000'\n");
    await ann.sees(/began=2/);
    ann.types("\x03");
    await ann.sees(/\^C\s+ready> $/);
    ann.types("echo still=$((40+2))\n");
    await ann.sees(/still=42/);
    ann.types("exit\n");
    expect((await outcome).state).toBe("succeeded");
  });

  it("carries bytes as they are, both ways", async () => {
    const ann = person();
    const outcome = open(ann);
    ann.types("stty raw -echo; head -c 4 | od -An -tx1; stty sane; printf '\\303\\251\\n'\n");
    await ann.sees(/sane/);
    ann.types(Buffer.from([0xff, 0x00, 0xc3, 0xa9]));
    await ann.sees(/ff 00 c3 a9/);
    await ann.sees(/é/);
    ann.types("exit\n");
    await outcome;
  });

  it("inherits nothing of the agent's environment", async () => {
    process.env.HOMEOSTAT_TEST_SECRET = "secret-of-the-agent";
    try {
      const ann = person();
      const outcome = open(ann);
      ann.types("env | sort; echo done=$((1+1))\n");
      await ann.sees(/done=2/);
      expect(ann.screen()).not.toContain("secret-of-the-agent");
      expect(ann.screen()).toMatch(/TERM=xterm-256color/);
      ann.types("exit\n");
      await outcome;
    } finally {
      delete process.env.HOMEOSTAT_TEST_SECRET;
    }
  });

  it.each([
    { name: "its time is over", config: {}, act: (ann: ReturnType<typeof person>) => ann.waitsTooLong(), says: "time" },
    {
      name: "it is cancelled",
      config: {},
      act: (ann: ReturnType<typeof person>) => ann.isCancelled(),
      says: "the session was ended: it was cancelled",
    },
    { name: "it lasts as long as the host allows", config: { max_s: 1 }, act: () => undefined, says: "lasted 1 s" },
    { name: "nobody types", config: { idle_s: 1 }, act: () => undefined, says: "nothing was typed for 1 s" },
  ])("is ended with all that runs in it when $name", async ({ config, act, says }) => {
    const ann = person();
    const outcome = open(ann, config);
    // One in the background, one that ignores being hung up, one in a session of its own.
    const at = join(dir, "pids");
    ann.types(
      `sleep 1001 & nohup sleep 1002 >/dev/null 2>&1 & setsid sleep 1003 & echo up=$((1+1)) > ${at}; cat ${at}\n`,
    );
    // Of those that end by themselves a slow machine may have been given less: whatever it was, it has ended.
    await Promise.race([ann.sees(/up=2/), outcome]);
    act(ann);
    const { state, message } = await outcome;
    expect({ state, message }).toEqual({ state: "failed", message: expect.stringContaining(says) });
    const left = markedProcesses("/proc", `${ann.mark.name}=${ann.mark.value}`);
    expect(left).toEqual([]);
  });

  it("waits with a flood until it has gone out", async () => {
    const ann = person();
    let bytes = 0;
    let waiting: () => void = () => undefined;
    const slow = {
      ...ann.execution,
      output: (_stream: string, data: Buffer): Promise<void> => {
        bytes += data.length;
        return new Promise((resolve) => {
          waiting = resolve;
        });
      },
    };
    const outcome = open({ ...ann, execution: slow });
    ann.types("yes homeostat\n");
    await expect.poll(() => bytes).toBeGreaterThan(0);
    const before = bytes;
    expect(bytes).toBe(before);
    expect(bytes).toBeLessThan(1_048_576);
    ann.waitsTooLong();
    waiting();
    expect((await outcome).state).toBe("failed");
  });

  it.runIf(UID === 0)("becomes the user that is configured, with that user's groups and no others", async () => {
    const ann = person();
    const outcome = open(ann, { user: "nobody" });
    ann.types("id -un; id -G; echo home=$HOME user=$USER\n");
    await ann.sees(/nobody\r\n65534\r\nhome=\S+ user=nobody/);
    ann.types("exit\n");
    await outcome;
  });

  it("is refused where the host does not enable it, and with arguments that it does not know", () => {
    const closed = shellOpen({ config: ShellConfig.parse({}), proc: "/proc", uid: UID });
    expect(closed.prepare({})).toEqual({ refused: expect.stringContaining("not enabled") });
    const opened = shellOpen({ config: ShellConfig.parse({ enabled: true }), proc: "/proc", uid: UID });
    expect(opened.prepare({ columns: 0 })).toEqual({ refused: expect.stringContaining("args.columns") });
    expect(opened.prepare({ command: "/bin/sh" })).toEqual({ refused: expect.stringContaining("command") });
    expect(opened.prepare({ term: "x;y" })).toEqual({ refused: expect.stringContaining("terminal type") });
  });

  it("says so when there is no such user, or one that may not log in", async () => {
    const missing = open(person(), { user: "nobody-of-that-name" });
    expect(await missing).toMatchObject({ state: "failed", message: "no user nobody-of-that-name on this host" });
    const barred = open(person(), { user: "daemon", command: undefined });
    expect((await barred).message).toMatch(/daemon may not log in|does not run as root/);
  });
});
