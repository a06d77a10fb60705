import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createEmbeddedBus } from "@homeostat/app";
import { GatewayConfig, ReceiversConfig, TELEMETRY_GROUP } from "@homeostat/ingest";
import { createGateway, createGatewayServer, otlpReceiver, type RunningGateway } from "@homeostat/ingest/receivers";
import { type Bus, BusError, type Finding, type OutgoingMessage, topics } from "@homeostat/schemas";
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished } from "vitest";
import { type Engine, silent, startEngine } from "../fixtures/batch/engine.ts";
import { startIngest } from "../fixtures/batch/ingest-run.ts";

const TOKEN = "the-token-of-the-collector";
const MIB = 1_048_576;
/** HOMEOSTAT_SERIES=1000000 for the whole storm. */
const SERIES = Number(process.env.HOMEOSTAT_SERIES ?? 200_000);

let engine: Engine;
beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine.stop());
beforeEach(async () => {
  for (const table of ["logs", "log_resources", "metric_series", "metric_samples", "ingest_ledger"])
    await engine.query(`TRUNCATE TABLE ${table} SYNC`);
});

/** The same numbers in every run: a failure can be looked at again. */
const seeded = (seed: number) => {
  let state = seed;
  return (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
};

const startBus = async (): Promise<Bus> => {
  const dir = await mkdtemp(join(tmpdir(), "homeostat-gateway-"));
  const bus = await createEmbeddedBus({ dir, topics: topics(), now: Date.now, log: silent });
  onTestFinished(async () => {
    await bus.stop();
    await rm(dir, { recursive: true, force: true });
  });
  return bus;
};

/** The real bus, but that publishing telemetry fails now and then: before anything is durable, or after everything is. */
const flaky = (bus: Bus, shares: () => { before: number; after: number }): Bus => {
  const random = seeded(7);
  const failure = () => new BusError("unreachable", "the connection broke", { retryable: true });
  const publish = async (messages: readonly OutgoingMessage[]): Promise<void> => {
    const isTelemetry = messages.some(({ topic }) => topic.startsWith("telemetry."));
    const dice = isTelemetry ? random() : 1;
    const { before, after } = shares();
    if (dice < before) throw failure();
    await bus.publish(messages);
    if (dice < before + after) throw failure();
  };
  return {
    publish,
    consume: (options) => bus.consume(options),
    lag: (group, topic) => bus.lag(group, topic),
    stop: () => bus.stop(),
  };
};

const startGateway = (
  bus: Bus,
  config: Partial<GatewayConfig> = {},
): { gateway: RunningGateway; findings: Finding[] } => {
  const findings: Finding[] = [];
  const gateway = createGateway({
    bus,
    config: GatewayConfig.parse(config),
    host: "gate-1",
    now: Date.now,
    log: silent,
    reportFinding: async (finding) => {
      findings.push(finding);
    },
    randomId: () => "0001",
    // A back-off is a turn of the event loop.
    wait: async () => {
      await new Promise((resolve) => setImmediate(resolve));
    },
  });
  onTestFinished(() => gateway.stop());
  return { gateway, findings };
};

const startServer = async (gateway: RunningGateway, config: Partial<GatewayConfig> = {}): Promise<string> => {
  const server = createGatewayServer({
    gateway,
    config: ReceiversConfig.parse({ senders: [{ name: "collector", token: TOKEN }], gateway: config }),
    receivers: [otlpReceiver],
    log: silent,
    now: Date.now,
  });
  onTestFinished(() => server.close());
  return server.listen({ host: "127.0.0.1", port: 0 });
};

const logsRequest = (request: number, records: number): string => {
  const attribute = (key: string, value: string) => ({ key, value: { stringValue: value } });
  const logRecords = Array.from({ length: records }, (_, row) => ({
    timeUnixNano: `${Date.now()}000000`,
    severityNumber: 9,
    body: { stringValue: `request ${request} row ${row}` },
  }));
  const attributes = [attribute("host.name", `web-${request % 7}`), attribute("service.name", "shop")];
  return JSON.stringify({ resourceLogs: [{ resource: { attributes }, scopeLogs: [{ logRecords }] }] });
};

/** A sender as they are: it sends the same body until it is told of success. */
const deliver = async (url: string, body: string): Promise<number> => {
  const headers = { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" };
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(`${url}/v1/logs`, { method: "POST", body, headers });
    const answer = await response.text();
    if (response.status === 200) return attempt;
    if (response.status !== 503 && response.status !== 429) throw new Error(`${response.status}: ${answer}`);
  }
};

it("what is acknowledged is in the store once, while the bus fails and senders send again", async () => {
  const bus = await startBus();
  const config = { commit_timeout_ms: 10, linger_ms: 5 };
  let refused = () => 0;
  // Down until senders have been told so, then up and down.
  const shares = () => (refused() < 20 ? { before: 1, after: 0 } : { before: 0.3, after: 0.3 });
  const { gateway } = startGateway(flaky(bus, shares), config);
  refused = () => gateway.status().receivers[0]?.rejected.http_503 ?? 0;
  const url = await startServer(gateway, config);
  const [requests, records] = [120, 20];
  let next = 0;
  const sender = async (): Promise<void> => {
    while (next < requests) await deliver(url, logsRequest(next++, records));
  };
  await Promise.all(Array.from({ length: 8 }, sender));
  expect(refused()).toBeGreaterThanOrEqual(20);

  const { produced, delivered, spooled } = gateway.status().topics["telemetry.logs"] ?? {};
  expect({ delivered, spooled }).toEqual({ delivered: produced, spooled: 0 });
  const run = await startIngest(bus, { insert: engine.store });
  await run.until(async () => (await bus.lag(TELEMETRY_GROUP, "telemetry.logs")).every((lag) => lag === 0));
  const [rows, distinct, resources] = await engine.numbers(
    "SELECT count(), uniqExact(body), (SELECT uniqExact(resource_id) FROM log_resources) FROM logs",
  );
  expect({ rows, distinct, resources }).toEqual({
    rows: requests * records,
    distinct: requests * records,
    resources: 7,
  });
  const [inserted] = await engine.numbers("SELECT (SELECT count() FROM logs) + (SELECT count() FROM log_resources)");
  expect(inserted).toBeLessThanOrEqual(produced ?? 0);
});

it("while the bus is down nothing is acknowledged; when it is back, everything is there once", async () => {
  const bus = await startBus();
  const trouble = { before: 1, after: 0 };
  const config = { commit_timeout_ms: 50, linger_ms: 5 };
  const { gateway } = startGateway(
    flaky(bus, () => trouble),
    config,
  );
  const url = await startServer(gateway, config);
  let acknowledged = 0;
  const deliveries = Array.from({ length: 20 }, async (_, request) => {
    const attempts = await deliver(url, logsRequest(request, 50));
    acknowledged++;
    return attempts;
  });
  const refused = () => gateway.status().receivers[0]?.rejected.http_503 ?? 0;
  while (refused() < 100) await new Promise((resolve) => setImmediate(resolve));
  expect(acknowledged).toBe(0);
  expect(gateway.status().topics["telemetry.logs"]?.delivered).toBe(0);
  trouble.before = 0;
  const attempts = await Promise.all(deliveries);
  expect(Math.max(...attempts)).toBeGreaterThan(1);
  const run = await startIngest(bus, { insert: engine.store });
  await run.until(async () => (await bus.lag(TELEMETRY_GROUP, "telemetry.logs")).every((lag) => lag === 0));
  expect(await engine.numbers("SELECT count(), uniqExact(body) FROM logs")).toEqual([1000, 1000]);
});

it("a storm of new series leaves memory bounded, and a finding that names the label", async () => {
  setFlagsFromString("--expose-gc");
  const collectGarbage: () => void = runInNewContext("gc");
  const usedBytes = (): number => {
    collectGarbage();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const bus = await startBus();
  const { gateway, findings } = startGateway(bus, { identities_bytes_max: 16 * MIB });
  const before = usedBytes();
  for (let from = 0; from < SERIES; from += 20_000) {
    const submission = gateway.admit({ sender: "collector", receiver: "test", bytes: 0 });
    if (submission === null) throw new Error("there is no room");
    for (let user = from; user < from + 20_000; user++) {
      const attributes = { "host.name": `web-${user % 10}`, user: `user-${user}` };
      const host = attributes["host.name"];
      const ref = gateway.series({ name: "logins", kind: "gauge", unit: "1", host, service: "", attributes });
      submission.sample(ref, Date.now(), 1);
    }
    await submission.commit();
  }
  expect(usedBytes() - before).toBeLessThan(24 * MIB);
  expect(gateway.status().receivers[0]).toMatchObject({ accepted: 10_000, rejected: { overflow: SERIES - 10_000 } });
  await gateway.check();
  expect(findings).toMatchObject([
    { rule: "metric_cardinality", state: "firing", labels: { metric: "logins", label: "user", sender: "collector" } },
  ]);
  const run = await startIngest(bus, { insert: engine.store });
  await run.until(async () => (await bus.lag(TELEMETRY_GROUP, "telemetry.metrics")).every((lag) => lag === 0));
  const [series, folded] = await engine.numbers(
    `SELECT uniqExact(fingerprint), (SELECT sum(value) FROM metric_samples WHERE fingerprint IN
       (SELECT fingerprint FROM metric_series WHERE attributes['otel.metric.overflow'] = 'true')) FROM metric_series`,
  );
  expect({ series, folded }).toEqual({ series: 10_001, folded: SERIES - 10_000 });
}, 120_000);
