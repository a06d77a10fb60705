import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Finding } from "@homeostat/schemas";
import { describe, expect, it } from "vitest";
import { NOW, record, resource, series, startGateway, unreachable } from "./gateway.fixture.ts";
import type { Submission } from "./intake.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const request = { sender: "shipper", receiver: "otlp", bytes: 0 };

const admitted = (submission: Submission | null): Submission => {
  if (submission === null) throw new Error("there is no room");
  return submission;
};

const told = (findings: readonly Finding[]) => findings.map(({ rule, state }) => `${rule} ${state}`);

describe("metrics with too many new series", () => {
  const byUser = (user: number) =>
    series("logins", { attributes: { "host.name": "web-1", user: `user-${user}`, region: `r${user % 3}` } });

  it("are counted into one overflow series, whose label the finding names, until a window has passed without", async () => {
    const { gateway, bus, findings, clock } = startGateway({ series_per_metric_max: 100, lanes: 1 });
    const submission = admitted(gateway.admit(request));
    for (let user = 0; user < 5000; user++) expect(submission.sample(gateway.series(byUser(user)), NOW, 7)).toBeNull();
    await submission.commit();
    const values = bus.samples.map(({ value }) => value);
    expect(values).toHaveLength(101);
    expect(values.filter((value) => value !== 7)).toEqual([4900]);
    expect(bus.rowsOf("metric_series")).toBe(101);
    const overflow = bus.batches.flatMap((batch) =>
      batch.schema === "metric_series"
        ? [[batch.column("kind").at(100), batch.column("unit").at(100), batch.column("attributes").at(100)]]
        : [],
    );
    expect(overflow).toEqual([["delta", "{sample}", { "otel.metric.overflow": "true" }]]);
    expect(gateway.status().receivers[0]).toMatchObject({ accepted: 100, rejected: { overflow: 4900 } });

    await gateway.check();
    const [finding] = findings;
    expect(Finding.parse(finding)).toMatchObject({
      rule: "metric_cardinality",
      state: "firing",
      category: "data_health",
    });
    expect(finding?.labels).toMatchObject({ metric: "logins", label: "user", sender: "shipper" });
    expect(finding?.labels.example).toMatch(/^user-\d+$/);
    const distinct = Number(finding?.labels.label_values);
    expect(Math.abs(distinct - 4900)).toBeLessThan(250);

    clock.nowUnixMs += HOUR_MS - MINUTE_MS;
    await gateway.check();
    clock.nowUnixMs += MINUTE_MS;
    await gateway.check();
    expect(told(findings)).toEqual([
      "metric_cardinality firing",
      "metric_cardinality firing",
      "metric_cardinality resolved",
    ]);
  });

  it("take new ones again when the window has rolled on, also by references that were kept", async () => {
    const { gateway, bus, clock } = startGateway({ series_per_metric_max: 1 });
    const [first, second] = [gateway.series(byUser(1)), gateway.series(byUser(2))];
    for (const later of [0, HOUR_MS + 10 * MINUTE_MS]) {
      clock.nowUnixMs = NOW + later;
      const submission = admitted(gateway.admit(request));
      submission.sample(first, clock.nowUnixMs, 10);
      submission.sample(second, clock.nowUnixMs, 20);
      await submission.commit();
    }
    expect(bus.samples.map(({ value }) => value).toSorted((a, b) => a - b)).toEqual([1, 10, 10, 20]);
  });

  it("leave others alone, and the series that are known", async () => {
    const { gateway, bus } = startGateway({ series_per_metric_max: 1 });
    const submission = admitted(gateway.admit(request));
    submission.sample(gateway.series(byUser(1)), NOW, 10);
    submission.sample(gateway.series(byUser(2)), NOW, 20);
    submission.sample(gateway.series(byUser(1)), NOW, 30);
    submission.sample(gateway.series(series("others")), NOW, 40);
    await submission.commit();
    expect(bus.samples.map(({ value }) => value).toSorted((a, b) => a - b)).toEqual([1, 10, 30, 40]);
  });

  it.each([
    ["one metric", (_index: number) => "logins"],
    ["as many metrics", (index: number) => `metric_${index}`],
  ])("tens of thousands of %s leave memory within the caps", async (_name, nameOf) => {
    const identities_bytes_max = 2 * 1_048_576;
    const { gateway, bus } = startGateway({ identities_bytes_max });
    bus.fault = () => {
      // What was published is not kept: the test's own memory is not the gateway's.
      bus.messages.length = 0;
    };
    const round = async (from: number): Promise<void> => {
      const submission = admitted(gateway.admit(request));
      for (let index = from; index < from + 5000; index++)
        submission.sample(gateway.series(series(nameOf(index), { attributes: { user: `user-${index}` } })), NOW, 1);
      await submission.commit();
    };
    for (let from = 0; from < 15_000; from += 5000) await round(from);
    const before = usedBytes();
    for (let from = 15_000; from < 65_000; from += 5000) await round(from);
    expect(usedBytes() - before).toBeLessThan(4 * 1_048_576);
    const { remembered, heldBytes } = gateway.status();
    expect(remembered.series * 400).toBeLessThan(identities_bytes_max);
    expect(heldBytes).toBe(0);
  });
});

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

/** What is in use, after everything else has been collected. */
const usedBytes = (): number => {
  collectGarbage();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
};

describe("a bus that does not take batches", () => {
  it("for more than ten seconds is a finding, which is over when it does; both are told even if only then they can be", async () => {
    const { gateway, bus, findings, clock } = startGateway();
    let isUp = false;
    bus.fault = () => (isUp ? undefined : unreachable());
    const submission = admitted(gateway.admit(request));
    submission.log(gateway.resource(resource()), record("hello"));
    const commit = submission.commit();
    while (clock.nowUnixMs - NOW < 5000) await new Promise((resolve) => setImmediate(resolve));
    expect(gateway.status().state).toBe("failing");
    while (clock.nowUnixMs - NOW < 12_000) await new Promise((resolve) => setImmediate(resolve));
    await gateway.check();
    expect(told(findings)).toEqual(["gateway_bus_failing firing"]);
    expect(findings[0]?.summary).toMatch(/telemetry\.logs lane-\d.*the broker is down/);
    isUp = true;
    await commit;
    await gateway.check();
    await gateway.check();
    expect(told(findings)).toEqual(["gateway_bus_failing firing", "gateway_bus_failing resolved"]);
    expect(findings[1]?.finding_id).toBe(findings[0]?.finding_id);
    expect(gateway.status().state).toBe("running");
  });
});

describe("requests that are refused", () => {
  const refuse = (
    gateway: ReturnType<typeof startGateway>["gateway"],
    count: number,
    { sender = "", peer = "10.0.0.9", reason = "http_401" } = {},
  ): void => {
    for (let index = 0; index < count; index++)
      gateway.countRefusal({ sender, receiver: "otlp", peer }, { reason, message: "unknown sender or token" });
  };

  it("in bulk are a finding that names the stranger's address, until a quiet minute has passed", async () => {
    const { gateway, findings, clock } = startGateway();
    refuse(gateway, 19);
    await gateway.check();
    expect(findings).toEqual([]);
    refuse(gateway, 1);
    await gateway.check();
    expect(Finding.parse(findings[0])).toMatchObject({
      rule: "sender_requests_refused",
      state: "firing",
      severity: "warning",
      entity: { host: "peer:10.0.0.9" },
      labels: { peer: "10.0.0.9", receiver: "otlp", reason: "http_401", count: "20" },
    });
    expect(findings[0]?.summary).toMatch(/20 requests .* http_401: unknown sender or token/);
    clock.nowUnixMs += MINUTE_MS - 1;
    await gateway.check();
    expect(told(findings)).toHaveLength(1);
    clock.nowUnixMs += 1;
    await gateway.check();
    expect(told(findings)).toEqual(["sender_requests_refused firing", "sender_requests_refused resolved"]);
  });

  it.each(["http_408", "http_413", "http_431", "connection_refused"])(
    "as %s are one from the third on",
    async (reason) => {
      const { gateway, findings } = startGateway();
      refuse(gateway, 3, { sender: "shipper", reason });
      await gateway.check();
      expect(findings.map(({ entity }) => entity)).toEqual([{ host: "sender:shipper" }]);
    },
  );

  it("spread over minutes, or for want of room or of the bus, are none of the sender's", async () => {
    const { gateway, findings, clock } = startGateway();
    for (const reason of ["http_429", "http_503"]) refuse(gateway, 100, { reason });
    for (let minute = 0; minute < 5; minute++) {
      refuse(gateway, 10);
      await gateway.check();
      clock.nowUnixMs += MINUTE_MS;
      await gateway.check();
    }
    expect(findings).toEqual([]);
  });

  it("of ever new strangers do not crowd out a finding about the bus", async () => {
    const { gateway, bus, findings, clock } = startGateway();
    for (let stranger = 0; stranger < 5000; stranger++)
      refuse(gateway, 20, { peer: `10.1.${stranger >> 8}.${stranger & 255}` });
    await gateway.check();
    expect(findings).toHaveLength(51);
    expect(findings.map(({ entity }) => entity.host)).toContain("peer:others");
    bus.fault = () => (clock.nowUnixMs - NOW > 20_000 ? undefined : unreachable());
    const submission = admitted(gateway.admit(request));
    submission.log(gateway.resource(resource()), record("hello"));
    const commit = submission.commit();
    while (clock.nowUnixMs - NOW < 12_000) await new Promise((resolve) => setImmediate(resolve));
    await gateway.check();
    expect(findings.at(-1)?.rule).toBe("gateway_bus_failing");
    await commit;
  });
});

describe("what a sender does", () => {
  it("never vetoes healing of the gateway's host: no finding about it names that, or any other, machine", async () => {
    const { gateway, findings } = startGateway({ series_per_metric_max: 1 });
    const submission = admitted(gateway.admit({ ...request, sender: "gate-1" }));
    for (let user = 0; user < 300; user++) {
      submission.sample(gateway.series(series("logins", { attributes: { user: `${user}` } })), NOW, 1);
      submission.sample(gateway.series(series("up")), NOW + 2 * HOUR_MS, 1);
    }
    await submission.commit();
    const refused = { sender: "gate-1", receiver: "otlp", peer: "10.0.0.9" };
    for (let times = 0; times < 20; times++) gateway.countRefusal(refused, { reason: "http_400", message: "broken" });
    await gateway.check();
    const rules = findings.map(({ rule }) => rule).toSorted();
    expect(rules).toEqual(["metric_cardinality", "sender_requests_refused", "sender_time_wrong"]);
    for (const { entity } of findings) expect(entity).toEqual({ host: "sender:gate-1" });
  });
});

describe("a sender with a wrong clock", () => {
  const send = async (gateway: ReturnType<typeof startGateway>["gateway"], offsetMs: number, nowUnixMs: number) => {
    const submission = admitted(gateway.admit(request));
    for (let index = 0; index < 200; index++)
      submission.sample(gateway.series(series("up")), nowUnixMs + offsetMs + index, 1);
    await submission.commit();
  };

  it("is named with its offset, until a minute has passed without", async () => {
    const { gateway, findings, clock } = startGateway();
    await send(gateway, 2 * HOUR_MS, NOW);
    await gateway.check();
    expect(told(findings)).toEqual(["sender_time_wrong firing"]);
    expect(findings[0]?.labels).toEqual({ sender: "shipper", offset_s: "7200" });
    for (let minute = 1; minute <= 3; minute++) {
      clock.nowUnixMs = NOW + minute * MINUTE_MS;
      await send(gateway, 0, clock.nowUnixMs);
      await gateway.check();
    }
    expect(told(findings)).toContain("sender_time_wrong resolved");
  });

  it("that brings but a few stragglers is not", async () => {
    const { gateway, findings } = startGateway();
    for (let times = 0; times < 20; times++) await send(gateway, 0, NOW);
    const submission = admitted(gateway.admit(request));
    for (let index = 0; index < 150; index++) submission.sample(gateway.series(series("up")), index, 1);
    await submission.commit();
    await gateway.check();
    expect(findings).toEqual([]);
  });
});
