import { type ChildProcess, fork } from "node:child_process";
import { readFileSync } from "node:fs";

/** A process of the benchmark's own: it is asked one thing at a time, by name, and answers with a plain value. */
export interface Child {
  readonly pid: number;
  ask<Answer>(order: string, argument?: unknown): Promise<Answer>;
  kill(signal: NodeJS.Signals): void;
  ended(): Promise<void>;
  stop(): Promise<void>;
}

interface Order {
  readonly id: number;
  readonly order: string;
  readonly argument: unknown;
}

interface Reply {
  readonly id: number;
  readonly answer?: unknown;
  readonly error?: string;
}

export type Orders = Readonly<Record<string, (argument: never) => unknown>>;

/** In the child: takes orders until `stop`, whose own work is done first when it is among them. */
export const takeOrders = (orders: Orders): void => {
  // Nobody is left to give orders, or to stop it.
  process.once("disconnect", () => process.exit(0));
  const answer = async ({ id, order, argument }: Order): Promise<void> => {
    const act = orders[order] as ((argument: unknown) => unknown) | undefined;
    if (act === undefined && order !== "stop") throw new Error(`there is no order ${order}`);
    const result = await act?.(argument);
    process.send?.({ id, answer: result } satisfies Reply);
    if (order === "stop") process.disconnect();
  };
  process.on("message", (message: Order) => {
    answer(message).catch((error: unknown) => {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      process.send?.({ id: message.id, error: text } satisfies Reply);
    });
  });
};

export const startChild = (
  path: string,
  execArgv: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Child => {
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const child: ChildProcess = fork(path, {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    // env(1) becomes the process, with what malloc reads before any code of ours runs.
    execPath: "env",
    execArgv: [...variables, process.execPath, "--disable-warning=ExperimentalWarning", ...execArgv],
    serialization: "advanced",
  });
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  let asked = 0;
  child.on("message", (message) => {
    const { id, answer, error } = message as Reply;
    const promise = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) promise?.resolve(answer);
    else promise?.reject(new Error(error));
  });
  const hasEnded = new Promise<void>((resolve) =>
    child.once("exit", (code, signal) => {
      for (const { reject } of waiting.values()) reject(new Error(`${path} ended with ${code ?? signal}`));
      waiting.clear();
      resolve();
    }),
  );
  // A message on its way to a process that is killed: `exit` tells those who wait.
  child.on("error", () => undefined);
  const ask = <Answer>(order: string, argument: unknown = null): Promise<Answer> => {
    if (!child.connected) return Promise.reject(new Error(`${path} does not run: it cannot be asked for ${order}`));
    const promise = Promise.withResolvers<unknown>();
    const id = asked++;
    waiting.set(id, promise);
    child.send({ id, order, argument } satisfies Order);
    return promise.promise as Promise<Answer>;
  };
  return {
    pid: child.pid ?? 0,
    ask,
    kill: (signal) => {
      child.kill(signal);
    },
    ended: () => hasEnded,
    stop: async () => {
      if (!child.connected) return;
      await ask("stop");
      await hasEnded;
    },
  };
};

/** Of memory that is in RAM (proc_pid_status(5), VmRSS). */
export const residentBytes = (pid: number): number => {
  const found = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(found?.[1] ?? Number.NaN) * 1024;
};
