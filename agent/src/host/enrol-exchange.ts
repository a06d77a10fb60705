import { Connection } from "../channel/connection.ts";
import { FRAME, HELLO_BYTES_MAX, jsonBody, jsonOrNull } from "../channel/frame.ts";
import { dialTls } from "../channel/tls-dial.ts";
import type { Exchange } from "./enrol.ts";

const ANSWER_MS_MAX = 30_000;
const QUEUE_BYTES_MAX = 262_144;

/**
 * Asks control through the first of these servers that answers. Neither the server nor the way to it is trusted: request and reply are proved
 * by the token's secret or by the certificate's key.
 */
export const exchangeThrough =
  (servers: () => readonly string[], now: () => number): Exchange =>
  async (request) => {
    const failures: string[] = [];
    for (const server of servers()) {
      try {
        return await askOne(server, request, now);
      } catch (error) {
        failures.push(`${server}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    throw new Error(failures.length === 0 ? "no server is known" : failures.join("; ").slice(0, 1_000));
  };

const askOne = async (server: string, request: unknown, now: () => number): Promise<unknown> => {
  const { socket } = await dialTls({ server, identity: null, expected: { kind: "site", site: null }, now });
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const connection = new Connection(socket, {
    frameBytesMax: HELLO_BYTES_MAX,
    queueBytesMax: QUEUE_BYTES_MAX,
    onFrame: (type, body) => {
      // Whoever answers is a stranger: what is no JSON is no reply, and must not throw in here.
      if (type === FRAME.enrolled) resolve(jsonOrNull(body));
      else if (type === FRAME.goaway) reject(new Error(`the server sends us away: ${body.toString("utf8", 0, 200)}`));
    },
    onClose: (reason) => reject(new Error(reason)),
  });
  const timer = setTimeout(() => reject(new Error(`no answer within ${ANSWER_MS_MAX} ms`)), ANSWER_MS_MAX);
  try {
    connection.send(FRAME.enrol, jsonBody(request));
    return await promise;
  } finally {
    clearTimeout(timer);
    connection.close("done");
  }
};
