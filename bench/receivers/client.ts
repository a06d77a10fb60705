import { connect } from "node:net";
import { TOKEN } from "./token.ts";
import { compress, type Workload } from "./workload.ts";

/** Requests under way at a time: a sender's shards. */
export const SHARDS = 8;
const TRIES_MAX = 100;

/** Makes all requests of a run; nothing of it counts, as it happens before the clock starts. */
export const prepare = (workload: Workload, bodies: readonly Buffer[]): Buffer[] =>
  bodies.map((body) => compress(workload, body));

/** Sends them all, so many at a time; resolves when each has been answered with success. */
export const sendAll = async (
  url: string,
  workload: Workload,
  { requests, atATime }: { readonly requests: readonly Buffer[]; readonly atATime: number },
): Promise<void> => {
  const waiting = [...requests].reverse();
  const worker = async (): Promise<void> => {
    for (let body = waiting.pop(); body !== undefined; body = waiting.pop()) await send(url, workload, body);
  };
  await Promise.all(Array.from({ length: atATime }, worker));
};

const send = async (url: string, { name, path, headers, encoding }: Workload, body: Buffer): Promise<void> => {
  for (let tries = 1; ; tries++) {
    const response = await fetch(`${url}${path}`, {
      method: "POST",
      body: new Uint8Array(body),
      headers: {
        ...headers,
        authorization: `Bearer ${TOKEN}`,
        ...(encoding === "identity" ? {} : { "content-encoding": encoding }),
      },
    });
    const answer = await response.text();
    if (response.ok) return;
    if (response.status !== 429 || tries === TRIES_MAX) {
      throw new Error(`${name}: ${response.status} ${answer.slice(0, 300)}`);
    }
  }
};

/** Streams them over as many connections; resolves when the receiver has read them to their ends. */
export const streamAll = async (port: number, bodies: readonly Buffer[]): Promise<void> => {
  const waiting = [...bodies].reverse();
  await Promise.all(Array.from({ length: SHARDS }, () => streamSome(port, waiting)));
};

const streamSome = (port: number, waiting: Buffer[]): Promise<void> =>
  new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    const write = (): void => {
      for (let body = waiting.pop(); body !== undefined; body = waiting.pop()) {
        if (!socket.write(body)) return;
      }
      socket.end();
    };
    socket.once("error", reject);
    socket.once("close", () => resolve());
    socket.on("drain", write);
    socket.resume();
    write();
  });
