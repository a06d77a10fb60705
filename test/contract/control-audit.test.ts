import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Fleet, type Member } from "../../agent/src/control/control-fleet.fixture.ts";
import { log, openWorld, startWith, undo, type World } from "./control-world.ts";

const bytesOf = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));

describe("the audit log on the bus", () => {
  const audited = async (): Promise<{ world: World; member: Member }> => {
    const world = await openWorld();
    const member = await startWith(world, ["h0"]);
    for (let n = 0; n < 3; n += 1) await member.control.audit.append("ann", "agent.noted", `n${n}`, { n });
    // The anchor follows a moment behind.
    await world.fleet.time.pass(1_500);
    return { world, member };
  };
  const record = (value: object, key: number) => ({ topic: "audit", key: String(key), value: bytesOf(value) });

  it("is whole, and reads from any number on", async () => {
    const { member } = await audited();
    expect(await member.control.audit.verify()).toMatchObject({ ok: true, records: 3 });
    expect((await member.control.audit.read(2, 1)).map(({ subject }) => subject)).toEqual(["n1"]);
    expect(await member.control.audit.read(4, 10)).toEqual([]);
  });

  it("is the same when records come once more, and goes on behind its newest", async () => {
    const { world, member } = await audited();
    for (const one of await member.control.audit.read(1, 2)) await world.bus.publish([record(one, one.sequence)]);
    await world.fleet.kill(member);
    const next = await world.fleet.member();
    undo.push(async () => next.control.stop());
    await world.fleet.lead(next);
    await next.control.audit.append("ann", "agent.noted", "after", {});
    expect(await next.control.audit.verify()).toMatchObject({ ok: true, records: 4 });
    expect((await next.control.audit.read(1, 10)).map(({ subject }) => subject)).toEqual(["n0", "n1", "n2", "after"]);
  });

  it("shows a record that was put in the place of another", async () => {
    const { world, member } = await audited();
    const [first] = await member.control.audit.read(1, 1);
    await world.bus.publish([record({ ...first, who: "eve" }, 1)]);
    expect(await member.control.audit.verify()).toMatchObject({ ok: false, flaw: expect.stringMatching(/record/) });
  });

  it("shows a record that was taken away", async () => {
    const { world, member } = await audited();
    await world.bus.publish([{ topic: "audit", key: "2", value: null }]);
    expect(await member.control.audit.verify()).toMatchObject({ ok: false });
  });

  it.each([
    { kind: "a tail that was cut off", records: 2, flaw: /ends at record 2, and had come to 3: its tail was cut off/ },
    { kind: "a chain that was written anew", records: 5, flaw: /record 3 is not the one that stood there/ },
  ])("shows $kind, also when the log has gone on since", async ({ records, flaw }) => {
    const { world, member } = await audited();
    await world.fleet.kill(member);
    // Another bus, with a chain that is whole in itself and signed with the right key.
    const forged = await openWorld();
    const forger = new Fleet({ bus: forged.bus, dir: join(forged.dir, "other"), log, keys: world.fleet.keys });
    const other = await forger.member();
    undo.push(async () => other.control.stop());
    await forger.lead(other);
    for (let n = 0; n < records; n += 1) await other.control.audit.append("ann", "agent.noted", "", { forged: n });
    await forger.kill(other);
    const fleet = new Fleet({ bus: forged.bus, dir: join(world.dir, "control"), log, keys: world.fleet.keys });
    const after = await fleet.member();
    undo.push(async () => after.control.stop());
    await fleet.lead(after);
    expect(after.control.health().audit_is_whole).toBe(false);
    expect(await after.control.audit.verify()).toMatchObject({ ok: false, flaw: expect.stringMatching(flaw) });
    for (let n = 0; n < 3; n += 1) await after.control.audit.append("ann", "agent.noted", "", { after: n });
    await fleet.time.pass(1_500);
    expect(await after.control.audit.verify()).toMatchObject({ ok: false });
  });
});
