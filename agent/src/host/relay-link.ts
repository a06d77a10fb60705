import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { type CommandSubscription, type Link, LinkError, type TakeCommand } from "./link.ts";
import { encodeFrames } from "./relay-frame.ts";

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** Longer than the relay holds a poll. */
const TIMEOUT_MS = 40_000;
const RETRY_MS = 2_000;
const COMMANDS_PER_POLL_MAX = 100;

const Commands = z.object({
  cursor: z.int().min(0),
  commands: z.array(z.unknown()).max(COMMANDS_PER_POLL_MAX),
});

/** The link of an agent that holds no credentials for the bus: all goes through a relay at its site. */
export const createRelayLink = (options: { url: string; token: string; host: string; fetch: Fetch }): Link => {
  const request = async (
    path: string,
    init: { method: string; type?: string; body?: string | Uint8Array<ArrayBuffer>; signal?: AbortSignal },
  ) => {
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    const headers: Record<string, string> = {
      authorization: `Bearer ${options.token}`,
      "x-homeostat-host": options.host,
    };
    if (init.type !== undefined) headers["content-type"] = init.type;
    let response: Response;
    try {
      response = await options.fetch(`${options.url.replace(/\/$/, "")}/relay/v1${path}`, {
        method: init.method,
        headers,
        signal: init.signal === undefined ? timeout : AbortSignal.any([timeout, init.signal]),
        ...(init.body === undefined ? {} : { body: init.body }),
      });
    } catch (cause) {
      throw new LinkError("unreachable", `the relay does not answer ${path}`, cause);
    }
    if (response.ok) return response;
    throw new LinkError(codeOf(response.status), `the relay answers ${path} with ${response.status}`);
  };
  const post = async (path: string, type: string, body: string | Uint8Array<ArrayBuffer>) => {
    const response = await request(path, { method: "POST", type, body });
    await response.arrayBuffer();
  };
  const poll = async (cursor: number, take: TakeCommand, signal: AbortSignal): Promise<number> => {
    const response = await request(`/commands?cursor=${cursor}`, { method: "GET", signal });
    const answer = Commands.parse(await response.json());
    for (const command of answer.commands) await take(command);
    return answer.cursor;
  };
  return {
    publish: (batches) => post("/batches", "application/octet-stream", new Uint8Array(encodeFrames(batches))),
    onCommand: async (take) => pollForEver(poll, take),
    publishResult: (result) => post("/results", "application/json", JSON.stringify(result)),
    publishHeartbeat: (heartbeat) => post("/heartbeats", "application/json", JSON.stringify(heartbeat)),
  };
};

/** The cursor lives in memory: after a restart commands come again, and the journal knows them. */
const pollForEver = (
  poll: (cursor: number, take: TakeCommand, signal: AbortSignal) => Promise<number>,
  take: TakeCommand,
): CommandSubscription => {
  const stopping = new AbortController();
  const loop = async () => {
    let cursor = 0;
    while (!stopping.signal.aborted) {
      try {
        cursor = await poll(cursor, take, stopping.signal);
      } catch (error) {
        // Unreachable, or a command that could not be written down: it comes again.
        if (stopping.signal.aborted) return;
        await delay(RETRY_MS, undefined, { signal: stopping.signal }).catch(() => error);
      }
    }
  };
  const done = loop();
  return {
    stop: async () => {
      stopping.abort();
      await done;
    },
  };
};

const codeOf = (status: number): LinkError["code"] => {
  if (status === 401 || status === 403) return "unauthorized";
  return status === 400 || status === 413 ? "refused" : "unreachable";
};
