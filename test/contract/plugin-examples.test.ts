import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AgentConfig, createAgent, createBusLink, pluginPart } from "@homeostat/agent";
import { createPluginCatalog, createRecordProof, packPlugin } from "@homeostat/agent/control";
import { createEmbeddedBus } from "@homeostat/app";
import {
  type CommandArgs,
  CommandResult,
  type DesiredPlugins,
  decodeBatch,
  dispatchOf,
  Heartbeat,
  type PluginStatus,
  topics,
} from "@homeostat/schemas";
import { expect, it, onTestFinished } from "vitest";
import { silent } from "../fixtures/batch/engine.ts";

const EXAMPLES = new URL("../../examples/plugins/", import.meta.url).pathname;
const publisher = generateKeyPairSync("ed25519");
const control = generateKeyPairSync("ed25519");

/** A bus, a catalog, and an agent with the host of plugins: all real, in one process. */
const setUp = async () => {
  const root = mkdtempSync(join(tmpdir(), "homeostat-examples-"));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const bus = await createEmbeddedBus({ dir: join(root, "bus"), topics: topics(), now: Date.now, log: silent });
  onTestFinished(() => bus.stop());
  const catalog = createPluginCatalog({
    bus,
    group: "catalog",
    dataDir: root,
    trustedKeys: [publisher.publicKey],
    proof: createRecordProof(root),
    hosts: () => [],
    now: Date.now,
    log: silent,
  });
  await catalog.start();
  onTestFinished(() => catalog.stop());
  const seen = await listen(bus);
  const desire: ((desired: DesiredPlugins) => void | Promise<void>)[] = [];
  const agent = createAgent({
    config: AgentConfig.parse({
      host: "web-1",
      interval_ms: 100,
      flush_ms: 100,
      heartbeat_ms: 1000,
      collectors: { cpu: false },
    }),
    dir: join(root, "agent"),
    link: createBusLink({ bus, host: "web-1" }),
    trustedKeys: [control.publicKey],
    now: Date.now,
    monotonicMs: () => performance.now(),
    random: () => 0,
    log: silent,
    parts: (surface) => {
      const part = pluginPart({
        fetch: (...piece) => catalog.read(...piece),
        trustedKeys: [publisher.publicKey],
        version: "0.1.0",
      })(surface);
      if (part.desired !== undefined) desire.push(part.desired);
      return [part];
    },
  });
  await agent.start();
  onTestFinished(() => agent.stop());
  const bring = async (example: string, config: Record<string, string | number>) => {
    const { artefact, release } = await packPlugin(join(EXAMPLES, example), publisher.privateKey);
    expect(await catalog.publish(artefact, release)).toEqual(release);
    const { name, version } = release.manifest;
    expect(await catalog.wish({ name, version, targets: { hosts: ["web-1"] }, config, by: "ada" })).not.toHaveProperty(
      "refused",
    );
    for (const tell of desire) await tell(catalog.desiredFor({ host: "web-1", site: "", labels: {} }));
    await seen.until(() => seen.plugin(name)?.state === "idle" || seen.plugin(name)?.state === "running");
  };
  const run = async (id: string, executor: string, args: CommandArgs): Promise<CommandResult> => {
    const at = Date.now();
    const terms = {
      command_id: id,
      job_id: "j1",
      requested_by: "ada",
      executor,
      risk: "read_only" as const,
      targets: { sites: {} },
      approvals: [],
      issued_at_unix_ms: at,
      not_after_unix_ms: at + 60_000,
      timeout_ms: 10_000,
      output_bytes_max: 10_000,
      limits: {},
    };
    const dispatch = dispatchOf(terms, { args, hosts: ["web-1"], privateKey: control.privateKey });
    await bus.publish([{ topic: "agent.commands", key: id, value: Buffer.from(JSON.stringify(dispatch)) }]);
    await seen.until(() => seen.result(id) !== undefined);
    return seen.result(id) ?? expect.unreachable();
  };
  return { root, bring, run, seen };
};

const listen = async (bus: Awaited<ReturnType<typeof createEmbeddedBus>>) => {
  const results: CommandResult[] = [];
  const series = new Map<string, Readonly<Record<string, string>>>();
  let plugins: readonly PluginStatus[] = [];
  const watchers = new Set<() => void>();
  const take = (topic: string, value: Uint8Array) => {
    if (topic === "agent.results") results.push(CommandResult.parse(JSON.parse(Buffer.from(value).toString())));
    else if (topic === "agent.heartbeats") plugins = Heartbeat.parse(JSON.parse(Buffer.from(value).toString())).plugins;
    else {
      const batch = decodeBatch(value);
      if (batch.schema !== "metric_series") return;
      for (let row = 0; row < batch.rowCount; row++) {
        const attributes = batch.column("attributes").at(row);
        series.set(String(batch.column("metric_name").at(row)), Object.fromEntries(Object.entries(attributes)));
      }
    }
  };
  await bus.consume({
    group: "test",
    topics: ["telemetry.metrics", "agent.results", "agent.heartbeats"],
    open: async ({ earliestOffset }) => ({
      startOffset: earliestOffset,
      receive: async (messages) => {
        for (const { topic, value } of messages) if (value !== null) take(topic, value);
        for (const watcher of watchers) watcher();
      },
    }),
  });
  const until = (isSo: () => boolean) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (!isSo()) return;
        watchers.delete(look);
        resolve();
      };
      watchers.add(look);
      look();
    });
  return {
    until,
    series,
    plugin: (name: string) => plugins.find((plugin) => plugin.name === name),
    result: (id: string) => results.find(({ command_id }) => command_id === id),
  };
};

it("the shell example tells when certificates end, as metrics and when asked", async () => {
  const { root, bring, run, seen } = await setUp();
  const directory = join(root, "certificates");
  mkdirSync(directory);
  for (const [file, days] of [
    ["soon.pem", "3"],
    ["later.pem", "400"],
  ] as const) {
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", join(root, "key.pem")];
    execFileSync("openssl", ["req", "-x509", ...key, "-days", days, "-subj", "/CN=x", "-out", join(directory, file)], {
      stdio: "ignore",
    });
  }
  writeFileSync(join(directory, "no-certificate.pem"), "nonsense");
  await bring("certificate-expiry", { directory });
  expect(seen.plugin("cpu")).toMatchObject({ state: "disabled" });
  expect(seen.plugin("memory")).toMatchObject({ state: "running" });
  await seen.until(() => seen.series.has("tls.certificate.remaining"));
  expect(seen.series.get("tls.certificate.remaining")).toMatchObject({ plugin: "certificate-expiry" });
  expect(await run("c1", "certificates.check", { days: 1 })).toMatchObject({ state: "succeeded", exit_code: 0 });
  expect(await run("c2", "certificates.check", { days: 30 })).toMatchObject({
    state: "failed",
    exit_code: 1,
    // A second after they were made it is a day less.
    stdout: expect.stringMatching(/^later\.pem ends in (399|400) days\nsoon\.pem ends in [23] days\n$/),
    message: "1 end within 30 days",
  });
  expect(await run("c3", "certificates.check", { days: "1; id" })).toMatchObject({ state: "refused" });
});

it("the Python example watches a queue, and answers for its health and when asked", async () => {
  const { root, bring, run, seen } = await setUp();
  const directory = join(root, "queue");
  mkdirSync(directory);
  writeFileSync(join(directory, "job-1"), "x");
  await bring("queue-watch", { directory, interval_s: 0.1 });
  await seen.until(() => seen.series.has("queue.files") && seen.series.has("queue.oldest.age"));
  expect(seen.series.get("queue.files")).toMatchObject({ plugin: "queue-watch" });
  expect(await run("c1", "queue.oldest", { count: 5 })).toMatchObject({
    state: "succeeded",
    stdout: expect.stringMatching(/^\d+ s job-1\n$/),
  });
  expect(await run("c2", "queue.oldest", { count: 5, path: "/etc" })).toMatchObject({ state: "refused" });
});
