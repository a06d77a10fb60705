import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { basename } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { CANCELLED, type Execution, type Executor, failed, type Outcome, refusalOf } from "./executor.ts";
import { type LoginUser, loginUser } from "./login-user.ts";
import { markedProcesses } from "./marked-processes.ts";
import { CLEAN_PATH } from "./process-group.ts";
import { FromPty, type ToPty } from "./pty-messages.ts";
import type { ShellConfig } from "./shell-config.ts";

const ptyChild = () => fileURLToPath(new URL("./pty-child.ts", import.meta.url));
/** What hangs up gets this long to end by itself. */
const HANG_UP_GRACE_MS = 1_000;
const KILL_ROUND_MS = 20;
const KILL_ROUNDS_MAX = 100;
/** What was written before the end is still read for this long. */
const DRAIN_MS_MAX = 2_000;
/** Names end in this when nobody may log in as the user. */
const NO_LOGIN = /\/(nologin|false)$/;

const Args = z.strictObject({
  columns: z.int().min(1).max(1_000).default(80),
  rows: z.int().min(1).max(1_000).default(24),
  term: z
    .string()
    .regex(/^[a-zA-Z0-9.+-]{1,64}$/, "want the name of a terminal type")
    .default("xterm-256color"),
});
type Args = z.infer<typeof Args>;

export interface ShellOpenOptions {
  readonly config: ShellConfig;
  readonly proc: string;
  /** The user that the agent runs as. */
  readonly uid: number;
}

/** An interactive session. Its output goes out as the stream `pty`; the result holds none of it. */
export const shellOpen = ({ config, proc, uid }: ShellOpenOptions): Executor => ({
  name: "shell.open",
  risk: "destructive",
  prepare(args) {
    if (!config.enabled) return { refused: "sessions are not enabled on this host (agent.shell.enabled)" };
    const parsed = Args.safeParse(args);
    if (!parsed.success) return refusalOf(parsed.error);
    const { data } = parsed;
    return {
      // Each session by itself: two people may be on a host at once.
      target: `shell:${crypto.randomUUID()}`,
      run: async (execution) => {
        const user = await loginUser(config.user ?? String(uid)).catch((error: Error) => error);
        if (user instanceof Error) return failed(user.message);
        if (config.command === undefined && NO_LOGIN.test(user.shell))
          return failed(`${user.name} may not log in: the shell is ${user.shell}`);
        if (user.uid !== uid && uid !== 0) return failed(`cannot become ${user.name}: the agent does not run as root`);
        return session({ args: data, config, user, becomes: user.uid !== uid, proc }, execution);
      },
    };
  },
});

interface Session {
  readonly args: Args;
  readonly config: ShellConfig;
  readonly user: LoginUser;
  readonly becomes: boolean;
  readonly proc: string;
}

/** Nothing of the agent's own environment. */
const environmentOf = ({ user, args }: Session, mark: Execution["mark"]): Record<string, string> => ({
  HOME: user.home,
  LANG: "C.UTF-8",
  LOGNAME: user.name,
  PATH: CLEAN_PATH,
  SHELL: user.shell,
  TERM: args.term,
  USER: user.name,
  [mark.name]: mark.value,
});

const openMessage = (session: Session, mark: Execution["mark"]): ToPty => {
  const { args, config, user, becomes } = session;
  return {
    type: "open",
    command: config.command ?? [user.shell, ...(/^(ba|z|k|da|fi)?sh$/.test(basename(user.shell)) ? ["-l"] : [])],
    cwd: existsSync(user.home) ? user.home : "/",
    env: environmentOf(session, mark),
    columns: args.columns,
    rows: args.rows,
    term: args.term,
    user: becomes ? { uid: user.uid, gid: user.gid, groups: [...user.groups] } : null,
  };
};

/** Ends for the first reason that is given; later ones do not count. */
const ender = () => {
  const ending = Promise.withResolvers<string>();
  return { because: ending.promise, end: ending.resolve };
};

const limits = ({ config }: Session, execution: Execution, end: (why: string) => void) => {
  const idleMs = config.idle_s * 1000;
  const idle = setTimeout(() => end(`nothing was typed for ${config.idle_s} s`), idleMs);
  const longest = setTimeout(() => end(`it lasted ${config.max_s} s`), config.max_s * 1000);
  const onAbort = (): void => end(execution.signal.reason === CANCELLED ? "it was cancelled" : "its time was over");
  execution.signal.addEventListener("abort", onAbort, { once: true });
  if (execution.signal.aborted) onAbort();
  return {
    typed: () => void idle.refresh(),
    stop: () => {
      clearTimeout(idle);
      clearTimeout(longest);
      execution.signal.removeEventListener("abort", onAbort);
    },
  };
};

/** Reads on only once what was read has gone out: a flood on the host waits there. */
const streamOut = (child: ChildProcess, execution: Execution): Promise<void> => {
  const { stdout } = child;
  if (stdout === null) return Promise.resolve();
  const pump = async (): Promise<void> => {
    for await (const data of stdout) await execution.output("pty", data);
  };
  return pump();
};

const session = async (one: Session, execution: Execution): Promise<Outcome> => {
  const child = fork(ptyChild(), [], {
    detached: true,
    env: { PATH: CLEAN_PATH, [execution.mark.name]: execution.mark.value },
    execArgv: [],
    stdio: ["ignore", "pipe", "ignore", "ipc"],
  });
  if (child.pid !== undefined) execution.noteChild(child.pid);
  const { because, end } = ender();
  let exit: { code: number; signal: number } | null = null;
  child.once("error", (error) => end(`the session could not be begun: ${error.message}`));
  child.once("exit", () => end(""));
  child.on("message", (value) => {
    const message = FromPty.parse(value);
    if (message.type === "exited") exit = message;
    if (message.type === "failed") end(`the session could not be begun: ${message.message}`);
  });
  const tell = (message: ToPty): void => {
    if (child.connected) child.send(message);
  };
  const limit = limits(one, execution, end);
  const drained = streamOut(child, execution).catch((error: unknown) => end(`its output was lost: ${String(error)}`));
  tell(openMessage(one, execution.mark));
  execution.input.onData((data) => {
    limit.typed();
    tell({ type: "input", data: data.toString("base64") });
  });
  execution.input.onResize((columns, rows) => tell({ type: "resize", columns, rows }));
  const reason = await because;
  limit.stop();
  await endAll(child, { proc: one.proc, mark: execution.mark });
  await Promise.race([drained, once(AbortSignal.timeout(DRAIN_MS_MAX), "abort")]);
  child.stdout?.destroy();
  return outcomeOf(reason, exit);
};

const outcomeOf = (reason: string, exit: { code: number; signal: number } | null): Outcome => {
  const outcome = failed(reason === "" ? "the session broke off" : `the session was ended: ${reason}`);
  if (reason !== "" || exit === null) return outcome;
  const how = exit.signal === 0 ? `exit code ${exit.code}` : `signal ${exit.signal}`;
  // Whatever the last command in it said: a session that its user has left has done what it should.
  return { ...outcome, state: "succeeded", exitCode: exit.code, message: `the session ended with ${how}` };
};

/**
 * Closing the terminal hangs up what runs in the foreground; then everything that carries the session's mark is killed, also what has gone
 * into a process group or a session of its own.
 */
const endAll = async (
  child: ChildProcess,
  { proc, mark }: { proc: string; mark: Execution["mark"] },
): Promise<void> => {
  if (child.exitCode === null && child.signalCode === null) {
    if (child.connected) child.disconnect();
    await Promise.race([once(child, "exit"), once(AbortSignal.timeout(HANG_UP_GRACE_MS), "abort")]);
  }
  // Again while any is left: what forks faster than it is killed has forked in between.
  for (let round = 0; round < KILL_ROUNDS_MAX; round += 1) {
    const left = markedProcesses(proc, `${mark.name}=${mark.value}`);
    if (left.length === 0) return;
    for (const pid of left) killed(pid);
    await delay(KILL_ROUND_MS);
  }
};

const killed = (pid: number): void => {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
};
