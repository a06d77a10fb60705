import { createHash, timingSafeEqual } from "node:crypto";
import {
  type Bus,
  CommandResult,
  type Consumer,
  decodeHeader,
  Heartbeat,
  MESSAGE_BYTES_MAX,
  SignedCommand,
  TOPIC_OF,
} from "@homeostat/schemas";
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from "fastify";
import type { OutgoingBatch } from "../host/link.ts";
import { decodeFrames, RELAY_BODY_BYTES_MAX } from "../host/relay-frame.ts";

/** Of all hosts together; beyond it agents are told to come back later, and keep their batches. */
const IN_FLIGHT_BYTES_MAX = 16 * 1_048_576;
const POLL_MS = 25_000;
const COMMANDS_PER_POLL_MAX = 100;
/** Commands kept for one host; the oldest give way. */
const COMMANDS_PER_HOST_MAX = 256;
const RETRY_AFTER_S = 2;

export interface RelayOptions {
  readonly bus: Bus;
  /** Whose batches and commands they are follows from the token alone. */
  readonly tokens: readonly { readonly host: string; readonly token: string }[];
  /** Tells relays apart: each reads all commands. */
  readonly name: string;
  readonly now: () => number;
}

interface Waiting {
  readonly offset: number;
  readonly signed: SignedCommand;
}

declare module "fastify" {
  interface FastifyRequest {
    relayHost: string;
  }
}

/** The routes for agents that hold no credentials for the bus. A batch is acknowledged once the bus has it. */
export const relayRoutes = (options: RelayOptions): FastifyPluginAsync => {
  const hosts = new Map(options.tokens.map(({ host, token }) => [host, sha256(token)]));
  return async (server) => {
    const commands = new CommandShelf(options);
    server.addHook("onReady", () => commands.start());
    server.addHook("preClose", () => commands.stop());
    server.decorateRequest("relayHost", "");
    server.addHook("onRequest", async (request, reply) => {
      const host = authenticate(request, hosts);
      if (host === null) return refuse(reply, 401, "unknown host or token");
      request.relayHost = host;
    });
    server.addContentTypeParser(
      "application/octet-stream",
      { parseAs: "buffer", bodyLimit: RELAY_BODY_BYTES_MAX },
      (_request, body, done) => done(null, body),
    );
    addBatches(server, options.bus);
    addCommands(server, commands);
    addRecords(server, options.bus);
  };
};

const addBatches = (server: FastifyInstance, bus: Bus): void => {
  let inFlightBytes = 0;
  const busyHosts = new Set<string>();
  server.post("/relay/v1/batches", { bodyLimit: RELAY_BODY_BYTES_MAX }, async (request, reply) => {
    const { body, relayHost: host } = request;
    if (!Buffer.isBuffer(body)) return refuse(reply, 400, "not application/octet-stream");
    if (busyHosts.has(host) || inFlightBytes + body.length > IN_FLIGHT_BYTES_MAX) return tooMany(reply);
    const batches = decodeFrames(body);
    if (batches === null) return refuse(reply, 400, "malformed frames");
    const flaw = batches.map((batch) => flawOf(batch, host)).find((found) => found !== null);
    if (flaw !== undefined) return refuse(reply, 400, flaw ?? "");
    busyHosts.add(host);
    inFlightBytes += body.length;
    try {
      if (batches.length > 0) await bus.publish(batches.map(({ topic, value }) => ({ topic, key: host, value })));
    } catch (error) {
      request.log.warn({ host, error: String(error) }, "the bus does not take batches");
      return refuse(reply.header("retry-after", RETRY_AFTER_S), 503, "the bus does not take it now");
    } finally {
      busyHosts.delete(host);
      inFlightBytes -= body.length;
    }
    return reply.code(204).send();
  });
};

/** A batch that is broken, too large, or made in the name of another host. */
const flawOf = ({ value, topic }: OutgoingBatch, host: string): string | null => {
  if (value.length > MESSAGE_BYTES_MAX) return `a batch has more than ${MESSAGE_BYTES_MAX} bytes`;
  try {
    const { producer, schema } = decodeHeader(value);
    if (!producer.startsWith(`${host}/`)) return `the producer ${producer} is not of this host`;
    return TOPIC_OF[schema] === topic ? null : `${schema} does not belong into ${topic}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};

const addCommands = (server: FastifyInstance, commands: CommandShelf): void => {
  server.get<{ Querystring: { cursor?: string } }>("/relay/v1/commands", async (request, reply) => {
    const cursor = Number(request.query.cursor ?? "0");
    if (!Number.isSafeInteger(cursor) || cursor < 0) return refuse(reply, 400, "cursor is no number");
    const gone = new AbortController();
    request.raw.once("close", () => gone.abort());
    const found = await commands.next(request.relayHost, cursor, gone.signal);
    const last = found.at(-1);
    return { cursor: last === undefined ? cursor : last.offset + 1, commands: found.map(({ signed }) => signed) };
  });
};

const addRecords = (server: FastifyInstance, bus: Bus): void => {
  const routes = [
    { path: "/relay/v1/results", topic: "agent.results", schema: CommandResult },
    { path: "/relay/v1/heartbeats", topic: "agent.heartbeats", schema: Heartbeat },
  ] as const;
  for (const { path, topic, schema } of routes)
    server.post(path, { bodyLimit: MESSAGE_BYTES_MAX }, async (request, reply) => {
      const parsed = schema.safeParse(request.body);
      if (!parsed.success) return refuse(reply, 400, parsed.error.issues[0]?.message ?? "malformed");
      const { relayHost: host } = request;
      if (parsed.data.host !== host) return refuse(reply, 403, `the record is not of ${host}`);
      await bus.publish([{ topic, key: host, value: Buffer.from(JSON.stringify(parsed.data)) }]);
      return reply.code(204).send();
    });
};

/** The commands that have not expired, by host, as read from the bus since the relay began; cursors are offsets of the bus. */
class CommandShelf {
  readonly #options: RelayOptions;
  readonly #byHost = new Map<string, Waiting[]>();
  readonly #pollers = new Map<string, () => void>();
  #consumer: Consumer | null = null;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    this.#consumer = await this.#options.bus.consume({
      group: `relay-${this.#options.name}`,
      topics: ["agent.commands"],
      // Never committed: after a restart the shelf is filled anew from what the topic still holds.
      open: async (partition) => ({
        startOffset: partition.earliestOffset,
        receive: async (messages) => {
          for (const { key, value, offset } of messages)
            if (key !== null && value !== null) this.#put(key, offset, value);
        },
      }),
    });
  }

  async stop(): Promise<void> {
    for (const wake of this.#pollers.values()) wake();
    await this.#consumer?.stop();
  }

  async next(host: string, cursor: number, gone: AbortSignal): Promise<Waiting[]> {
    const found = this.#from(host, cursor);
    if (found.length > 0) return found;
    // A newer poll of the same host takes the place of an older one.
    this.#pollers.get(host)?.();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, POLL_MS);
      timer.unref();
      const wake = () => {
        clearTimeout(timer);
        if (this.#pollers.get(host) === wake) this.#pollers.delete(host);
        resolve();
      };
      this.#pollers.set(host, wake);
      gone.addEventListener("abort", wake, { once: true });
    });
    return this.#from(host, cursor);
  }

  #from(host: string, cursor: number): Waiting[] {
    const waiting = this.#byHost.get(host)?.filter(({ signed }) => !this.#isExpired(signed)) ?? [];
    this.#byHost.set(host, waiting);
    return waiting.filter(({ offset }) => offset >= cursor).slice(0, COMMANDS_PER_POLL_MAX);
  }

  #put(host: string, offset: number, value: Uint8Array): void {
    if (!this.#options.tokens.some((known) => known.host === host)) return;
    const parsed = SignedCommand.safeParse(jsonOrNull(value));
    if (!parsed.success || this.#isExpired(parsed.data)) return;
    const waiting = this.#byHost.get(host) ?? [];
    if (waiting.some((one) => one.offset === offset)) return;
    this.#byHost.set(host, [...waiting, { offset, signed: parsed.data }].slice(-COMMANDS_PER_HOST_MAX));
    this.#pollers.get(host)?.();
  }

  #isExpired({ command }: SignedCommand): boolean {
    return command.not_after_unix_ms < this.#options.now();
  }
}

const jsonOrNull = (value: Uint8Array): unknown => {
  try {
    return JSON.parse(Buffer.from(value).toString("utf8"));
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
};

/** Digests are compared, in constant time, for a host that is unknown as for one that is known. */
const authenticate = (request: FastifyRequest, hosts: ReadonlyMap<string, Buffer>): string | null => {
  const name = request.headers["x-homeostat-host"];
  const host = typeof name === "string" ? name : "";
  const token = /^Bearer (.{1,512})$/.exec(request.headers.authorization ?? "")?.[1] ?? "";
  const expected = hosts.get(host);
  const isGenuine = timingSafeEqual(sha256(token), expected ?? sha256(""));
  return isGenuine && expected !== undefined && token !== "" ? host : null;
};

const sha256 = (text: string): Buffer => createHash("sha256").update(text).digest();

const refuse = (reply: FastifyReply, status: number, message: string) => reply.code(status).send({ error: message });

const tooMany = (reply: FastifyReply) =>
  refuse(reply.header("retry-after", RETRY_AFTER_S), 429, "too much at once: come again");
