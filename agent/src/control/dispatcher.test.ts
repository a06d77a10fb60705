import { generateKeyPairSync } from "node:crypto";
import { type CommandResult, type Dispatch, dispatchOf, signCancel } from "@homeostat/schemas";
import { describe, expect, it } from "vitest";
import { Dispatcher, type Reach } from "./dispatcher.ts";

const { privateKey } = generateKeyPairSync("ed25519");
const standing = { commands: 0, results: 0 };

const dispatch = (command_id: string, hosts: readonly string[], notAfter = 60_000): Dispatch =>
  dispatchOf(
    {
      command_id,
      job_id: "j",
      requested_by: "ann",
      executor: "exec.run",
      risk: "reversible",
      targets: { sites: {} },
      approvals: [],
      issued_at_unix_ms: 0,
      not_after_unix_ms: notAfter,
      timeout_ms: 1_000,
      output_bytes_max: 0,
      limits: {},
    },
    { args: {}, hosts, privateKey },
  );

/** Hosts that are there, and all that the dispatcher does. */
const open = () => {
  const here = new Set<string>();
  const sent: { host: string; type: string; id: string }[] = [];
  const concluded: CommandResult[] = [];
  const world = { now: 0, isFull: false, reach: "channel" as Reach };
  const note = (host: string, message: string): void => {
    const said = JSON.parse(message);
    sent.push({ host, type: said.type, id: said.command?.signed.grant.command_id ?? said.cancel.cancel.command_id });
  };
  const dispatcher = new Dispatcher({
    reach: () => world.reach,
    hasRoom: (host) => here.has(host) && !world.isFull,
    send: (host, message) => {
      if (here.has(host)) note(host, message);
      return here.has(host);
    },
    conclude: (result) => concluded.push(result),
    onState: () => undefined,
    now: () => world.now,
    lostGraceMs: 5_000,
  });
  const take = (value: Dispatch, mayBeHandedOut = false) =>
    dispatcher.take(value, { standing, mayBeHandedOut, isJobs: true });
  return { here, sent, concluded, world, dispatcher, take };
};

const cancelOf = (command_id: string) =>
  signCancel({ command_id, hosts: [], cancelled_by: "ann", at_unix_ms: 0, not_after_unix_ms: 60_000 }, privateKey);

describe("the dispatcher", () => {
  it("gives a host a few dozen commands at a time, and the next as each is done", () => {
    const { here, sent, dispatcher, take } = open();
    here.add("a");
    for (let n = 0; n < 40; n += 1) take(dispatch(`c${n}`, ["a"]));
    expect(sent).toHaveLength(32);
    dispatcher.settled("c0", "a");
    expect(sent.at(-1)?.id).toBe("c32");
  });

  it("holds a thousand for a host that is away, and answers the rest as refused", () => {
    const { concluded, dispatcher, take } = open();
    for (let n = 0; n < 1_001; n += 1) take(dispatch(`c${n}`, ["a"]));
    expect(concluded).toMatchObject([{ command_id: "c1000", state: "refused" }]);
    expect(concluded[0]?.message).toMatch(/1000 commands wait for this host/);
    expect(dispatcher.held()).toBe(1_000);
  });

  it("waits while a site server is behind, and goes on when it has drained", () => {
    const { here, sent, world, dispatcher, take } = open();
    here.add("a");
    world.isFull = true;
    take(dispatch("c", ["a"]));
    expect(sent).toEqual([]);
    world.isFull = false;
    dispatcher.goOn("a");
    expect(sent).toEqual([{ host: "a", type: "command", id: "c" }]);
  });

  it("on a new session tells cancellations first, and then what has no result", () => {
    const { here, sent, dispatcher, take } = open();
    here.add("a");
    take(dispatch("c1", ["a"]));
    take(dispatch("c2", ["a"]));
    here.delete("a");
    dispatcher.cancel(cancelOf("c1"));
    here.add("a");
    sent.length = 0;
    dispatcher.connected("a");
    expect(sent.map(({ type, id }) => `${type} ${id}`)).toEqual(["cancel c1", "command c1", "command c2"]);
  });

  it("never sends what was cancelled before it was handed out", () => {
    const { here, sent, concluded, dispatcher, take } = open();
    take(dispatch("c", ["a"]));
    dispatcher.cancel(cancelOf("c"));
    expect(concluded).toMatchObject([{ command_id: "c", host: "a", state: "cancelled" }]);
    here.add("a");
    dispatcher.connected("a");
    expect(sent).toEqual([]);
    dispatcher.settled("c", "a");
    expect(dispatcher.open).toBe(0);
  });

  it("says expired of what was never handed out, and lost of what may have been, each at its time and once", () => {
    const { here, concluded, world, dispatcher, take } = open();
    here.add("a");
    take(dispatch("c", ["a", "away"]));
    take(dispatch("old", ["away"]), true);
    const at = (now: number) => {
      world.now = now;
      dispatcher.tick();
      return concluded.map(({ command_id, host, state }) => `${command_id} ${host} ${state}`);
    };
    expect(at(60_000)).toEqual([]);
    expect(at(61_001)).toEqual(["c away expired"]);
    expect(at(66_000)).toEqual(["c away expired"]);
    expect(at(67_001)).toEqual(["c away expired", "c a lost", "old away lost"]);
    expect(at(600_000)).toHaveLength(3);
  });

  it("sends nothing to a barred host, and what waits when it is readmitted", () => {
    const { here, sent, world, dispatcher, take } = open();
    here.add("a");
    world.reach = "barred";
    take(dispatch("c", ["a"]));
    dispatcher.connected("a");
    expect(sent).toEqual([]);
    world.reach = "channel";
    dispatcher.goOn("a");
    expect(sent).toHaveLength(1);
  });

  it("does not begin on what is too late", () => {
    const { here, sent, world, dispatcher, take } = open();
    take(dispatch("c", ["a"]));
    world.now = 60_001;
    here.add("a");
    dispatcher.connected("a");
    expect(sent).toEqual([]);
  });

  it("knows where a new leader has to read from: at the oldest that is open", () => {
    const { dispatcher, take } = open();
    expect(dispatcher.oldest()).toBeNull();
    const at = (commands: number) => ({
      standing: { commands, results: commands },
      mayBeHandedOut: false,
      isJobs: true,
    });
    dispatcher.take(dispatch("c1", ["a", "b"]), at(5));
    dispatcher.take(dispatch("c2", ["a"]), at(9));
    take(dispatch("c2", ["a"]));
    dispatcher.settled("c1", "a");
    expect(dispatcher.oldest()?.commands).toBe(5);
    dispatcher.settled("c1", "b");
    expect(dispatcher.oldest()?.commands).toBe(9);
    dispatcher.settled("c2", "a");
    expect(dispatcher.oldest()).toBeNull();
    expect(dispatcher.open).toBe(0);
  });
});
