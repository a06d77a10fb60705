import { type Log, releaseBytes } from "@homeostat/schemas";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Authenticate } from "./authenticate.ts";
import type { ByteRoom, RoomAccount } from "./byte-room.ts";
import type { Connections } from "./connections.ts";
import { decompress } from "./decompress.ts";
import type { RunningGateway } from "./gateway.ts";
import { type Gateway, GatewayError } from "./intake.ts";
import { plainAddress } from "./peer-address.ts";
import { readBody } from "./read-body.ts";
import { type Answer, type IntakeRequest, type ReceiverRoute, RequestError } from "./receiver-route.ts";
import type { UnansweredRequest, UnansweredRequests } from "./unanswered-requests.ts";

/** When a sender that was told to come again does so. */
const RETRY_AFTER_S = 5;

/** What the gateway's server gives to each receiver: `export const xyzReceiver = (ports: ReceiverPorts): FastifyPluginAsync => …`. */
export interface ReceiverPorts {
  readonly gateway: Gateway;
  readonly log: Log;
  readonly now: () => number;
  readonly http: HttpIntake;
}

/** What `receive` needs of the server. */
export interface HttpIntake {
  readonly authenticate: Authenticate;
  readonly room: ByteRoom;
  readonly countRefusal: RunningGateway["countRefusal"];
  readonly connections: Connections;
  readonly unanswered: UnansweredRequests;
  readonly bodyBytesMax: number;
  readonly uncompressedBytesMax: number;
  readonly commitTimeoutMs: number;
}

declare module "fastify" {
  interface FastifyRequest {
    telemetrySender: string;
  }
}

/**
 * Adds one route: authentication, decompression, caps, admission, commit. A request is answered with success when the bus has its records; 429 when there
 * is no room, 503 when the bus takes too long, both with Retry-After: the same body sent again then joins what is still under way.
 */
export const receive = (server: FastifyInstance, ports: ReceiverPorts, route: ReceiverRoute): void => {
  server.route({
    method: route.method,
    url: route.path,
    onRequest: async (request, reply) => {
      const sender = ports.http.authenticate(request.headers.authorization);
      ports.http.connections.began(request.raw.socket, { sender: sender ?? "", receiver: route.receiver });
      if (sender === null)
        return refuse(request, reply, { ports, route }, new RequestError(401, "unknown sender or token"));
      request.telemetrySender = sender;
    },
    handler: (request, reply) => take(request, reply, { ports, route }),
    errorHandler: (error, request, reply) => {
      refuse(request, reply, { ports, route }, requestErrorOf(error, ports.log));
    },
  });
};

interface Way {
  readonly ports: ReceiverPorts;
  readonly route: ReceiverRoute;
}

const take = async (request: FastifyRequest, reply: FastifyReply, way: Way): Promise<FastifyReply> => {
  const { http } = way.ports;
  const account = http.room.open();
  let joined: UnansweredRequest;
  try {
    const body = await bodyOf(request, http, account);
    // A connection that broke while the body was unpacked: nobody waits, and nothing was taken.
    if (reply.raw.destroyed) throw new RequestError(400, "the sender hung up");
    joined = begin(request, body, { ...way, account });
  } catch (error) {
    account.close();
    throw error;
  }
  let isCommitted = false;
  reply.raw.once("close", () => {
    http.unanswered.leave(joined, { isAnswered: isCommitted && reply.raw.writableFinished });
  });
  const answer = await within(http.commitTimeoutMs, joined.outcome);
  if (answer === null) throw new RequestError(503, "the bus has not taken it yet: send it again");
  isCommitted = true;
  return send(reply, answer);
};

const bodyOf = async (request: FastifyRequest, http: HttpIntake, account: RoomAccount): Promise<Buffer> => {
  const compressed = await readBody(request.raw, { bytesMax: http.bodyBytesMax, account });
  const encoding = request.headers["content-encoding"] ?? "";
  const body = await decompress(compressed, encoding, { bytesMax: http.uncompressedBytesMax, account });
  if (body === compressed) return body;
  account.give(compressed.length);
  releaseBytes(compressed);
  return body;
};

/** The request's records are appended, or were by the request that it repeats. */
const begin = (
  request: FastifyRequest,
  body: Buffer,
  { ports, route, account }: Way & { account: RoomAccount },
): UnansweredRequest => {
  const { gateway, http, now } = ports;
  const sender = request.telemetrySender;
  const key = `${sender}\n${request.method} ${request.url}\n${request.headers["content-type"] ?? ""}`;
  const earlier = http.unanswered.join(key, body);
  if (earlier !== null) {
    account.close();
    return earlier;
  }
  // The account holds the body already.
  const submission = gateway.admit({ sender, receiver: route.receiver, bytes: 0 });
  if (submission === null) throw new RequestError(429, "too much at once: come again");
  let answer: Answer;
  try {
    answer = route.handle(intakeRequest(request, body, now()), submission);
  } catch (error) {
    submission.abandon();
    throw error;
  }
  return http.unanswered.add(key, body, { outcome: submission.commit().then(() => answer), account });
};

const intakeRequest = (request: FastifyRequest, body: Buffer, nowUnixMs: number): IntakeRequest => ({
  body,
  contentType: contentTypeOf(request),
  headers: request.headers,
  params: texts(request.params),
  query: texts(request.query),
  sender: request.telemetrySender,
  nowUnixMs,
});

/** Of a name that comes several times, the first value. */
const texts = (values: unknown): Record<string, string> =>
  Object.fromEntries(Object.entries(values ?? {}).map(([name, value]) => [name, String([value].flat()[0] ?? "")]));

const contentTypeOf = (request: FastifyRequest): string =>
  (request.headers["content-type"] ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";

/** null when it takes longer. */
const within = async <T>(ms: number, promise: Promise<T>): Promise<T | null> => {
  const late = Promise.withResolvers<null>();
  const timer = setTimeout(late.resolve, ms, null);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
};

const requestErrorOf = (error: unknown, log: Log): RequestError => {
  if (error instanceof RequestError) return error;
  if (error instanceof GatewayError) return new RequestError(503, `${error.message}: send it again`, { cause: error });
  const status = statusOf(error);
  if (status !== null) return new RequestError(status, error instanceof Error ? error.message : "", { cause: error });
  log.error({ err: error }, "a request ended in a defect");
  return new RequestError(500, "internal error", { cause: error });
};

/** Of Fastify's own refusals. */
const statusOf = (error: unknown): number | null => {
  const status = error instanceof Error && "statusCode" in error ? error.statusCode : null;
  return typeof status === "number" && status >= 400 && status < 500 ? status : null;
};

/** Their senders may go on sending the body that was refused: the connection ends with the answer. */
const CLOSING: ReadonlySet<number> = new Set([408, 413]);

const refuse = (
  request: FastifyRequest,
  reply: FastifyReply,
  { ports, route }: Way,
  { status, message }: RequestError,
): FastifyReply => {
  const { socket } = request.raw;
  const refused = {
    sender: request.telemetrySender,
    receiver: route.receiver,
    peer: plainAddress(socket.remoteAddress),
  };
  if (!ports.http.connections.wasRefused(socket))
    ports.http.countRefusal(refused, { reason: `http_${status}`, message });
  if (status === 401) reply.header("www-authenticate", 'Basic realm="telemetry", Bearer');
  if (status === 429 || status === 503) reply.header("retry-after", RETRY_AFTER_S);
  if (CLOSING.has(status)) reply.header("connection", "close");
  return send(reply, route.refusal(status, message, { contentType: contentTypeOf(request) }));
};

const send = (reply: FastifyReply, { status, headers = {}, body }: Answer): FastifyReply =>
  reply.code(status).headers(headers).send(body);
