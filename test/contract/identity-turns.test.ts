import { afterEach, beforeEach, expect, test } from "vitest";
import type { Exchange } from "../../agent/src/host/enrol.ts";
import { IdentityControl, outcome } from "./identity-control.ts";

let at: IdentityControl;
beforeEach(async () => {
  at = await IdentityControl.open();
});
afterEach(() => at.close());

const HOSTS = Array.from({ length: 40 }, (_, n) => `web-${n}`);

test("a fleet that enrols at once costs the bus a few writes, and each host its own identity and audit record", async () => {
  const token = await at.tokenFor({ uses: HOSTS.length });
  let published = 0;
  const [bus, { publish }] = [at.bus, at.bus];
  at.identities = await at.control({
    bus: {
      ...bus,
      consume: (options) => bus.consume(options),
      publish: async (messages) => {
        published += 1;
        return publish.call(bus, messages);
      },
    },
  });
  const identities = await Promise.all(HOSTS.map((host) => at.enrolHost(host, { token })));
  expect(published).toBeLessThan(HOSTS.length / 4);
  expect(new Set(identities.map((each) => at.connects(each)))).toEqual(new Set(["accepted"]));
  expect(at.audited.filter(({ what }) => what === "agent.enrolled").map(({ subject }) => subject)).toEqual(
    expect.arrayContaining(HOSTS),
  );
  const other = await at.control();
  expect([other.agents().length, other.tokens()[0]?.uses]).toEqual([HOSTS.length, HOSTS.length]);
});

test("who is refused because of another whose record is lost, is told to try again", async () => {
  const token = await at.tokenFor();
  const [bus, { publish }] = [at.bus, at.bus];
  let isDown = true;
  const flaky = await at.control({
    bus: {
      ...bus,
      consume: (options) => bus.consume(options),
      publish: async (messages) => {
        if (isDown) throw new Error("the bus is away");
        return publish.call(bus, messages);
      },
    },
  });
  const exchange: Exchange = (request) => flaky.enrol(request);
  const enrolling = ["web-1", "web-2"].map((host) => outcome(at.enrolHost(host, { token, exchange })));
  expect(await Promise.all(enrolling)).toEqual(["unavailable", "unavailable"]);
  isDown = false;
  expect(await outcome(at.enrolHost("web-2", { token, exchange }))).toBe("enrolled");
});
