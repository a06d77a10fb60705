import type { AddressInfo } from "node:net";
import { createServer } from "node:tls";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Connection } from "../channel/connection.ts";
import type { EnrolRequest } from "../channel/enrolment.ts";
import { FRAME, HELLO_BYTES_MAX } from "../channel/frame.ts";
import { serverTls } from "../channel/tls-identity.ts";
import { Fleet } from "../site/channel-fleet.fixture.ts";
import { ask } from "./enrol.ts";
import { exchangeThrough } from "./enrol-exchange.ts";

let fleet: Fleet;
beforeEach(async () => {
  fleet = await Fleet.make();
});
afterEach(() => fleet.end());

/** Somebody at a server's address who answers each request with these bytes. */
const answering = async (answer: string): Promise<string> => {
  const server = createServer(serverTls(await fleet.identity("site", "s1")), (socket) => {
    const connection: Connection = new Connection(socket, {
      frameBytesMax: HELLO_BYTES_MAX,
      queueBytesMax: HELLO_BYTES_MAX,
      onFrame: () => connection.send(FRAME.enrolled, Buffer.from(answer)),
      onClose: () => undefined,
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  fleet.onEnd(async () => void server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
};

const request: EnrolRequest = {
  type: "renew",
  certificate: "",
  spki: "",
  names: [],
  signature: "",
  certificate_signature: "",
};

test.each(["", "{", "no JSON at all", "[]", '{"type":"enrolled"}', "\ufeff{}"])(
  "a server that answers %j is told to be malformed, and ends nobody's process",
  async (answer) => {
    const exchange = exchangeThrough(await answering(answer).then((server) => () => [server]), Date.now);
    await expect(ask(exchange, request)).rejects.toMatchObject({ code: "bad_reply" });
  },
);
