import { afterEach, beforeEach, expect, test } from "vitest";
import { Connection } from "../channel/connection.ts";
import { FRAME, FRAME_BYTES_MAX, jsonBody } from "../channel/frame.ts";
import { dialTls } from "../channel/tls-dial.ts";
import { Fleet, SITE, until } from "../site/channel-fleet.fixture.ts";

let fleet: Fleet;
beforeEach(async () => {
  fleet = await Fleet.make();
});
afterEach(() => fleet.end());

test("a site server that connects again and again holds a few ways to control, and no place of others", async () => {
  const tls = await fleet.identity("control", "main");
  const port = await fleet.control.uplinks.listen({ host: "127.0.0.1", port: 0, tls });
  const expected = { kind: "control", site: null } as const;
  const closed: number[] = [];
  const connect = async (server: string, number: number): Promise<void> => {
    const identity = await fleet.identity("site", server);
    const { socket } = await dialTls({ server: `127.0.0.1:${port}`, identity, expected, now: Date.now });
    const welcome = Promise.withResolvers<void>();
    const connection = new Connection(socket, {
      frameBytesMax: FRAME_BYTES_MAX,
      queueBytesMax: FRAME_BYTES_MAX,
      onFrame: (type) => (type === FRAME.welcome ? welcome.resolve() : undefined),
      onClose: () => closed.push(number),
    });
    fleet.onEnd(async () => connection.destroy("the test is over"));
    connection.send(FRAME.hello, jsonBody({ protocol: 1, site: SITE, server }));
    await welcome.promise;
  };
  await connect("s2", 0);
  for (let number = 1; number <= 6; number += 1) await connect("s1", number);
  await until(() => closed.length === 2);
  expect(closed).toEqual([1, 2]);
  expect(fleet.control.uplinks.servers().map(({ server }) => server)).toEqual(["s2", "s1", "s1", "s1", "s1"]);
});

test.each([{ says: { site: "dc2", server: "s1" } }, { says: { site: SITE, server: "s2" } }])(
  "a site server speaks for no other: $says",
  async ({ says }) => {
    const tls = await fleet.identity("control", "main");
    const port = await fleet.control.uplinks.listen({ host: "127.0.0.1", port: 0, tls });
    const identity = await fleet.identity("site", "s1");
    const expected = { kind: "control", site: null } as const;
    const { socket } = await dialTls({ server: `127.0.0.1:${port}`, identity, expected, now: Date.now });
    const closed = Promise.withResolvers<void>();
    const frames: number[] = [];
    const connection = new Connection(socket, {
      frameBytesMax: FRAME_BYTES_MAX,
      queueBytesMax: FRAME_BYTES_MAX,
      onFrame: (type) => frames.push(type),
      onClose: () => closed.resolve(),
    });
    connection.send(FRAME.hello, jsonBody({ protocol: 1, ...says }));
    await closed.promise;
    expect(frames).toEqual([]);
    expect(fleet.control.uplinks.servers()).toEqual([]);
  },
);
