/** A process of its own for each session: the agent never loads the native module, and whatever it does ends with the session. */
import { type IPty, spawn } from "@lydell/node-pty";
import { type FromPty, ToPty } from "./pty-messages.ts";

type Open = Extract<ToPty, { type: "open" }>;
/** It takes bytes as well as text, whatever its own types say. */
type Typed = { write(data: string | Buffer): void };

const tell = (message: FromPty): void => {
  if (process.connected) process.send?.(message);
};

/** Groups first: whoever has become somebody else may not change them any more. */
const become = ({ uid, gid, groups }: NonNullable<Open["user"]>): void => {
  process.setgroups?.(groups);
  process.setgid?.(gid);
  process.setuid?.(uid);
};

const open = (message: Open): IPty => {
  if (message.user !== null) become(message.user);
  const [command = "", ...args] = message.command;
  const pty = spawn(command, args, {
    name: message.term,
    cols: message.columns,
    rows: message.rows,
    cwd: message.cwd,
    env: message.env,
    encoding: null,
  });
  // With no encoding it gives bytes, whatever its types say.
  pty.onData((data: string | Buffer) => {
    if (process.stdout.write(data)) return;
    pty.pause();
    process.stdout.once("drain", () => pty.resume());
  });
  pty.onExit(({ exitCode, signal = 0 }) => {
    tell({ type: "exited", code: exitCode, signal });
    process.stdout.end(() => process.disconnect());
  });
  tell({ type: "opened", pid: pty.pid });
  return pty;
};

let pty: (IPty & Typed) | null = null;
const take = (value: unknown): void => {
  const message = ToPty.parse(value);
  if (message.type === "open") pty = open(message);
  if (message.type === "input") pty?.write(Buffer.from(message.data, "base64"));
  if (message.type === "resize") pty?.resize(message.columns, message.rows);
};
process.on("message", (value) => {
  try {
    take(value);
  } catch (error) {
    tell({ type: "failed", message: error instanceof Error ? error.message : String(error) });
    process.exitCode = 1;
    process.disconnect();
  }
});
// The agent is gone: a session that nobody records must not go on. Closing the terminal hangs up its processes.
process.on("disconnect", () => process.exit());
