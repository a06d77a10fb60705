import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Order, Reply } from "./gateway-process.ts";

const PATH = fileURLToPath(new URL("./gateway-process.ts", import.meta.url));

type ReplyOf<R extends Reply["reply"]> = Extract<Reply, { readonly reply: R }>;

/** The measured process, as its parent speaks to it. */
export interface GatewayChild {
  readonly pid: number;
  readonly url: string;
  readonly syslogPort: number;
  ask<R extends Reply["reply"]>(order: Order, reply: R): Promise<ReplyOf<R>>;
  stop(): Promise<void>;
}

const nextReply = <R extends Reply["reply"]>(child: ChildProcess, wanted: R): Promise<ReplyOf<R>> =>
  new Promise((resolve, reject) => {
    const onExit = (code: number | null): void => reject(new Error(`the gateway's process ended with ${code}`));
    child.once("exit", onExit);
    child.once("message", (reply: Reply) => {
      child.off("exit", onExit);
      if (reply.reply === wanted) resolve(reply as ReplyOf<R>);
      else reject(new Error(reply.reply === "failed" ? reply.message : `${reply.reply} instead of ${wanted}`));
    });
  });

export const startGatewayChild = async (): Promise<GatewayChild> => {
  const child = fork(PATH, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const { port, syslogPort } = await nextReply(child, "ready");
  return {
    pid: child.pid ?? 0,
    url: `http://127.0.0.1:${port}`,
    syslogPort,
    ask: (order, reply) => {
      const answer = nextReply(child, reply);
      child.send(order);
      return answer;
    },
    stop: async () => {
      const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
      child.send({ order: "stop" } satisfies Order);
      await ended;
    },
  };
};
