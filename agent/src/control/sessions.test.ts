import { createSecretKey, randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { sealedSession } from "../channel/sealed-session.ts";
import { Sessions } from "./sessions.ts";
import type { RawSession } from "./uplinks.ts";

const nothing = () => undefined;
const log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

/** Site servers that carry a few frames before they are behind, and agents at them. */
const open = () => {
  const room = new Map<string, number>();
  const sent: string[] = [];
  const onRoom: string[] = [];
  const barred = new Map<string, string>();
  const closed: string[] = [];
  const keys = new Map<
    string,
    { send: ReturnType<typeof createSecretKey>; receive: ReturnType<typeof createSecretKey> }
  >();
  const sessions: Sessions = new Sessions({
    accept: (hello) => {
      const host = hello.toString();
      const session = sealedSession(
        keys.get(host) ?? { send: createSecretKey(randomBytes(32)), receive: createSecretKey(randomBytes(32)) },
      );
      return { host, serial: "1", site: "east", welcome: Buffer.alloc(0), helloUnixMs: 1, session };
    },
    onConfirmed: nothing,
    mayConnect: (host) => barred.get(host) ?? null,
    onGone: nothing,
    onMessage: nothing,
    onRoom: (host) => {
      onRoom.push(host);
      if (sessions.hasRoom(host)) sessions.send(host, "a message");
    },
    count: nothing,
    log,
  });
  const up = (host: string, server: string, way = server): RawSession => {
    const raw: RawSession = {
      id: `${way}/${host}`,
      way,
      host,
      server,
      site: "east",
      address: "",
      isOpen: true,
      get isBehind() {
        return (room.get(way) ?? 0) <= 0;
      },
      send: (kind) => {
        if (kind === "sealed") {
          sent.push(host);
          room.set(way, (room.get(way) ?? 0) - 1);
        }
        return !raw.isBehind;
      },
      close: (reason) => closed.push(`${host}: ${reason}`),
    };
    const mine = { send: createSecretKey(randomBytes(32)), receive: createSecretKey(randomBytes(32)) };
    keys.set(host, mine);
    sessions.up(raw);
    sessions.frame(raw, "handshake", Buffer.from(host));
    const agent = sealedSession({ send: mine.receive, receive: mine.send });
    sessions.frame(raw, "sealed", agent.seal(Buffer.from('{"type":"clock","asked_at_unix_ms":1}')));
    return raw;
  };
  return { room, sent, onRoom, barred, closed, sessions, up };
};

test("hosts whose server is behind are told in their order, as many as there is room for, and those of others are not", () => {
  const { room, sent, onRoom, sessions, up } = open();
  const hosts = ["a", "b", "c"].map((name) => up(name, "s1"));
  up("d", "s2");
  for (const host of ["a", "b", "c", "d"]) expect(sessions.hasRoom(host)).toBe(false);
  room.set("s1", 2);
  sessions.drained("s1");
  expect(onRoom).toEqual(["a", "b"]);
  expect(sent).toEqual(["a", "b"]);
  // Behind again; and whoever has gone meanwhile is not told.
  expect(sessions.hasRoom("a")).toBe(false);
  for (const raw of hosts.slice(2)) sessions.down(raw);
  room.set("s1", 2);
  sessions.drained("s1");
  expect(sent).toEqual(["a", "b", "a"]);
  sessions.drained("s1");
  expect(onRoom).toEqual(["a", "b", "a"]);
});

test("a host that has moved to another server does not wait for the one before", () => {
  const { room, sent, sessions, up } = open();
  up("a", "s1");
  expect(sessions.hasRoom("a")).toBe(false);
  room.set("s2", 1);
  up("a", "s2");
  expect(sessions.hasRoom("a")).toBe(true);
  room.set("s1", 1);
  sessions.drained("s1");
  expect(sent).toEqual([]);
});

test("a server that does not read holds up none of another site whose server has the same name", () => {
  const { room, sent, onRoom, sessions, up } = open();
  up("b", "s1", "west");
  up("a", "s1", "east");
  for (const host of ["b", "a"]) expect(sessions.hasRoom(host)).toBe(false);
  room.set("east", 1);
  sessions.drained("east");
  expect([onRoom, sent]).toEqual([["a"], ["a"]]);
});

test("what is short and must not wait is sent to a server that is behind all the same, and to nobody who is not here", () => {
  const { sent, sessions, up } = open();
  const raw = up("a", "s1");
  expect(sessions.send("a", "cancel")).toBe(true);
  expect(sent).toEqual(["a"]);
  expect(sessions.send("b", "cancel")).toBe(false);
  sessions.down(raw);
  expect(sessions.send("a", "cancel")).toBe(false);
  expect(sessions.hasRoom("a")).toBe(false);
});

test("a session has one handshake: a hello again ends it", () => {
  const { sessions, closed, up } = open();
  const raw = up("a", "s1");
  sessions.frame(raw, "handshake", Buffer.from("a"));
  expect(closed).toEqual(["a: a session has one handshake"]);
});

test("whose certificate does not count any more loses its sessions, also one that has not said a word yet", () => {
  const { sessions, barred, closed, up } = open();
  const raw = up("a", "s1");
  up("b", "s1");
  const silent: RawSession = {
    ...raw,
    id: "s2/a",
    way: "s2",
    server: "s2",
    close: (reason) => closed.push(`silent: ${reason}`),
  };
  sessions.up(silent);
  sessions.frame(silent, "handshake", Buffer.from("a"));
  sessions.recheck("a");
  expect(closed).toEqual([]);
  barred.set("a", "revoked");
  sessions.recheck("a");
  sessions.recheck("b");
  expect(closed.sort()).toEqual(["a: revoked", "silent: revoked"]);
});
