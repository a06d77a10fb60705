import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { agentHost } from "@homeostat/agent";
import type { Control } from "@homeostat/agent/control";
import { createApi, metricFact } from "@homeostat/analytics";
import { createDeadLetters } from "@homeostat/ingest";
import { createEngine, type Engine, type RemediationConfig } from "@homeostat/remediation";
import type { Bus, Finding, Log } from "@homeostat/schemas";
import { pino } from "pino";
import { aboutPlatform } from "./about.ts";
import { agentApi } from "./agent-api.ts";
import { type DataDir, openDataDir, writeFileAtomically } from "./data-dir.ts";
import { type Detecting, startDetecting } from "./detecting.ts";
import { createDiskGuard } from "./disk-guard.ts";
import { createFactsReader } from "./facts.ts";
import { type Parts, readHealth, waitingBatches } from "./health.ts";
import { startIngesting } from "./ingesting.ts";
import { type LiveStore, openLiveStore, type StoreAddress } from "./live-store.ts";
import { createLogFile } from "./log-file.ts";
import { openBus } from "./open-bus.ts";
import type { Options } from "./options.ts";
import { type OwnAgent, startOwnAgent } from "./own-agent.ts";
import type { Receivers } from "./receivers.ts";
import { createReload, type Reload } from "./reload.ts";
import { createReports } from "./reports.ts";
import { type Job, schedule } from "./schedule.ts";
import { readSecret, type Secret } from "./secret.ts";
import { RecordedSessions } from "./shell-sessions.ts";
import { createTranscripts } from "./transcripts.ts";
import { Undo } from "./undo.ts";
import { readUsers } from "./users.ts";

export interface PlatformSetting {
  readonly options: Options;
  /** Reads the options anew from where they came; null where they came from nowhere. */
  readonly readOptions: (() => Options) | null;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  readonly now: () => number;
  /** Aborts a start that waits for a bus or a store. */
  readonly signal: AbortSignal;
  /** What a start waits for, in words. */
  readonly onWaiting: (what: string) => void;
}

export interface Platform {
  /** One line each, for a person. */
  readonly about: {
    readonly watches: string;
    readonly receives: string;
    readonly heals: string;
    readonly serves: string;
    readonly bus: string;
    readonly store: string;
  };
  /** Where the API listens; null when it does not run here. */
  readonly url: string | null;
  readonly reload: Reload["run"];
  stop(): Promise<void>;
}

interface Site extends PlatformSetting {
  readonly dataDir: DataDir;
  readonly log: Log;
  readonly host: string;
  readonly undo: Undo;
  readonly secret: (secret: Secret | undefined) => Promise<string>;
}

const publishFinding = (bus: Bus, finding: Finding): Promise<void> =>
  bus.publish([{ topic: "detect.findings", key: finding.entity.host, value: Buffer.from(JSON.stringify(finding)) }]);

const startTelemetry = async ({ options, ...site }: Site, bus: Bus): Promise<Receivers | null> => {
  const config = options.receivers;
  if (config === undefined || !options.parts.includes("receivers")) return null;
  // Here and not above: who has no senders must not pay for them.
  const { startReceivers } = await import("./receivers.ts");
  return startReceivers({ ...site, config, bus, reportFinding: (finding) => publishFinding(bus, finding) });
};

const startFleet = async (
  site: Site,
  bus: Bus,
  agent: OwnAgent | null,
): Promise<Pick<Parts, "control" | "siteServer">> => {
  const { options, secret } = site;
  const has = (part: Options["parts"][number]): boolean => options.parts.includes(part);
  const runsControl = has("control");
  const ours = has("site") ? options.site : undefined;
  if (!runsControl && ours === undefined) return { control: null, siteServer: null };
  const { startControl, startSite } = await import("./fleet.ts");
  const control = runsControl ? await startControl({ ...site, bus }, agent) : null;
  const secrets = { ticketKey: await secret(ours?.ticket_key), token: await secret(ours?.token) };
  const siteServer = ours === undefined ? null : await startSite({ ...site, site: ours, bus, ...secrets }, control);
  return { control, siteServer };
};

const notified = ({ options, secret }: Site): Promise<RemediationConfig["receivers"]> =>
  Promise.all(
    options.remediation.receivers.map(async ({ bearer_token, ...receiver }) =>
      bearer_token === undefined ? receiver : { ...receiver, bearer_token: await secret(bearer_token) },
    ),
  );

const startEngine = async (
  site: Site,
  bus: Bus,
  { store, control }: { readonly store: LiveStore; readonly control: Control | null },
): Promise<Engine> => {
  const { options, dataDir, now, log, undo } = site;
  const facts = createFactsReader({
    now,
    readMetric: async ({ metric, labels, aggregate, fromUnixMs, toUnixMs }) => {
      const params = { metric_name: metric, labels, aggregate, from_unix_ms: fromUnixMs, to_unix_ms: toUnixMs };
      const [row] = await store.current().run(metricFact, params);
      return row?.value ?? null;
    },
  });
  const engine = createEngine({
    bus,
    config: { ...options.remediation, receivers: await notified(site) },
    facts,
    signingKey: dataDir.signingKey,
    now,
    log,
    newId: randomUUID,
    timers: {
      after: (ms, run) => {
        const timer = setTimeout(run, ms);
        return () => clearTimeout(timer);
      },
    },
    changingAt: (where) => control?.changingAt(where) ?? 0,
  });
  await engine.start();
  undo.add("remediation", () => engine.stop());
  return engine;
};

/** What is done by the calendar. */
const startSchedule = ({ host, dataDir, now, log, undo }: Site, bus: Bus, jobs: readonly Job[]): void => {
  const guard = createDiskGuard({
    host,
    dataDir: dataDir.root,
    now,
    publish: (finding) => publishFinding(bus, finding),
    readSpace: async () => {
      const { bavail, blocks, bsize } = await statfs(dataDir.root);
      return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
    },
  });
  undo.add("schedule", schedule([{ name: "disk guard", when: "* * * * *", run: () => guard.check() }, ...jobs], log));
};

/** Interactive sessions, recorded. */
const startShell = ({ options, dataDir, now, log, undo }: Site, control: Control): RecordedSessions => {
  const { transcripts: config } = options;
  const transcripts = createTranscripts({ dir: dataDir.transcripts, config, now });
  const sessions = new RecordedSessions({ control, transcripts, sessionBytesMax: config.session_bytes_max, now, log });
  sessions.start();
  undo.add("shell sessions", () => sessions.stop());
  return sessions;
};

const LOOPBACK = new Set(["127.0.0.1", "::1", "localhost"]);

const startApi = async (
  site: Site,
  parts: Parts & { readonly bus: Bus; readonly store: LiveStore },
): Promise<string> => {
  const { options, dataDir, version, env, now, log, undo } = site;
  const { host, port } = options.http;
  const { bus, store, control } = parts;
  const notHere = { refused: "not_leader", message: "remediation does not run in this process" };
  const api = createApi({
    run: (query, params, runOptions) => store.current().run(query, params, runOptions),
    health: () => readHealth(parts),
    reports: createReports(store.current),
    decide: async (runId, { approved, by, note }) =>
      (await parts.engine?.decide(runId, { approved, by, note })) ?? notHere,
    acknowledge: async (incidentId, by) => (await parts.engine?.acknowledge(incidentId, by)) ?? notHere,
    reload: () => parts.reload.run(),
    deadLetters: createDeadLetters({ bus, log, name: randomUUID() }),
    waiting: () => waitingBatches(bus),
    version,
    token: dataDir.apiToken,
    users: await readUsers(options.users, env),
    ...(control === null ? {} : { agentPlatform: agentApi(control, startShell(site, control)) }),
    isLoopback: LOOPBACK.has(host),
    now,
    log,
  });
  const url = await listen(api, { host, port });
  undo.add("api", () => api.close());
  return url;
};

const listen = async (api: ReturnType<typeof createApi>, at: { host: string; port: number }): Promise<string> => {
  try {
    return await api.listen(at);
  } catch (error) {
    const isTaken = error instanceof Error && "code" in error && error.code === "EADDRINUSE";
    if (!isTaken) throw error;
    throw new Error(
      `port ${at.port} is taken: is Homeostat running already? (http.port in the configuration; 0 takes a free one)`,
      {
        cause: error,
      },
    );
  }
};

interface Started {
  readonly parts: Parts;
  readonly url: string | null;
}

const reloadOf = ({ options, readOptions, log }: Site, detecting: Detecting | null): Reload =>
  createReload({ options, read: readOptions, apply: detecting?.reload ?? null, log });

/** Order matters: what others need comes first, and is the last to stop. */
const startParts = async (site: Site): Promise<Started> => {
  const { options, dataDir, now, log, undo, signal, onWaiting, secret } = site;
  const has = (part: Options["parts"][number]): boolean => options.parts.includes(part);
  const nothing = {
    bus: null,
    store: null,
    receivers: null,
    control: null,
    siteServer: null,
    ingest: null,
    runner: null,
    engine: null,
    reload: reloadOf(site, null),
  };
  const bus = await openBus(options, {
    dir: dataDir.bus,
    saslPassword: await secret(options.bus.kind === "kafka" ? options.bus.sasl?.password : undefined),
    now,
    log,
    signal,
    onWaiting,
  });
  undo.add("bus", () => bus.stop());
  // An agent watches from the first second on, also while the store is still coming up: the bus keeps what it says.
  const own = has("agent") ? await startOwnAgent(site, bus) : null;
  const agent = own?.agent ?? null;
  // So do senders: what they bring waits on the bus, not with them.
  const receivers = await startTelemetry(site, bus);
  const fleet = await startFleet(site, bus, own);
  if (options.parts.every((part) => part === "agent" || part === "receivers" || part === "site"))
    return { parts: { ...nothing, bus, agent, receivers, ...fleet }, url: null };
  const password = await secret(options.store.kind === "clickhouse" ? options.store.password : undefined);
  const onEngine = (address: StoreAddress) => writeFileAtomically(dataDir.storeFile, JSON.stringify(address));
  const store = await openLiveStore({ options, dir: dataDir.store, password, now, log, signal, onWaiting, onEngine });
  undo.add("store", () => store.stop());
  undo.add("store file", () => rmSync(dataDir.storeFile, { force: true }));
  const reportFinding = (finding: Finding) => publishFinding(bus, finding);
  const ingesting = has("ingest") ? await startIngesting({ ...site, bus, store, reportFinding }) : null;
  const config = options.detectors;
  const detecting = has("detectors") ? await startDetecting({ bus, config, store, now, log, undo }) : null;
  const engine = has("remediation") ? await startEngine(site, bus, { store, control: fleet.control }) : null;
  startSchedule(site, bus, [...(ingesting?.jobs ?? []), ...(detecting?.jobs ?? [])]);
  const ingest = ingesting?.ingest ?? null;
  const runner = detecting?.runner ?? null;
  const parts = { bus, store, agent, receivers, ...fleet, ingest, runner, engine, reload: reloadOf(site, detecting) };
  const url = has("api") ? await startApi(site, parts) : null;
  return { parts, url };
};

/** @throws when a part cannot be started; what had started is stopped again. */
export const startPlatform = async (setting: PlatformSetting): Promise<Platform> => {
  const { options, env, now, version } = setting;
  const dataDir = openDataDir(options.data_dir);
  const undo = new Undo();
  const logFile = createLogFile(dataDir.log);
  undo.add("log", () => logFile.close());
  const log = pino(
    { level: options.log_level, base: null, redact: ["*.password", "*.token", "*.authorization"] },
    logFile,
  );
  const stop = () => undo.run((name, error) => log.error({ err: error, part: name }, "a part did not stop in order"));
  const host = agentHost(options.agent);
  const secret = async (one: Secret | undefined) => (one === undefined ? "" : readSecret(one, env));
  try {
    log.info({ version, parts: options.parts, host }, "starting");
    const { parts, url } = await startParts({ ...setting, dataDir, log, host, undo, secret });
    if (url !== null) {
      const told = { pid: process.pid, url, version, started_at_unix_ms: now() };
      writeFileAtomically(dataDir.runFile, JSON.stringify(told));
      undo.add("run file", () => rmSync(dataDir.runFile, { force: true }));
    }
    log.info({ url }, "ready");
    const receives = parts.receivers?.places ?? [];
    const about = aboutPlatform(options, { host, store: parts.store?.about ?? "none", receives });
    return { about, url, reload: parts.reload.run, stop };
  } catch (error) {
    log.error({ err: error }, "the start failed");
    await stop();
    throw error;
  }
};
