import { createPrivateKey, generateKeyPairSync, type KeyObject, randomUUID } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type Control, ControlConfig, createControl, isRefused, type Principal } from "@homeostat/agent/control";
import { enrol, openIdentityFiles, type TlsIdentity, tlsIdentityOf } from "@homeostat/agent/site";
import { createEmbeddedBus, newId } from "@homeostat/app";
import { type Bus, type CommandResult, type InvocationState, type Job, JobRequest, topics } from "@homeostat/schemas";
import { takeOrders } from "./child.ts";
import { silentLog, warnLog } from "./quiet-log.ts";

/* The control plane in a process of its own: the embedded bus, durable as ever, and control on it. What is asked of it comes from within. */

const LEAD_MS_MAX = 30_000;
const BY: Principal = { name: "bench", roles: ["operator", "admin", "approver", "viewer"] };
const FOREVER_MS = 3_600_000;

export interface StartControl {
  /** Bus, keys and the authority's folder; what was there before goes on. */
  readonly dir: string;
  readonly port: number;
  readonly isQuiet: boolean;
}

/** command_id, host, state, whether its execution had begun. */
export type ToldResult = readonly [string, string, InvocationState, boolean];

export interface ResultsRead {
  readonly next: number;
  readonly results: readonly ToldResult[];
}

export interface ListedJob {
  readonly job_id: string;
  readonly state: string;
  readonly hosts: number;
  readonly counts: Job["counts"];
  readonly errors_max: number;
  readonly stop_cause: NonNullable<Job["stop_cause"]> | null;
}

export interface Loaded {
  readonly jobs: number;
  readonly commands: number;
  readonly errors: number;
  /** From the job's submission to its end, each. */
  readonly latenciesMs: readonly number[];
  readonly tookS: number;
}

interface Load {
  /** Of the jobs, as far as it matters. */
  readonly request: Record<string, unknown>;
  readonly hosts: readonly string[];
  readonly hostsPerJob: number;
  /** Commands under way at any time. */
  readonly inFlight: number;
  readonly seconds: number;
  /** Jobs a second; 0: as fast as they go. */
  readonly rate: number;
}

let running: { control: Control; bus: Bus } | null = null;

const control = (): Control => {
  if (running === null) throw new Error("control was not started");
  return running.control;
};

const signingKeyIn = (dir: string): KeyObject => {
  const path = join(dir, "command-key.pem");
  if (existsSync(path)) return createPrivateKey(readFileSync(path));
  const { privateKey } = generateKeyPairSync("ed25519");
  writeFileSync(path, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  return privateKey;
};

const start = async ({ dir, port, isQuiet }: StartControl): Promise<number> => {
  const log = isQuiet ? silentLog : warnLog;
  const bus = await createEmbeddedBus({ dir: join(dir, "bus"), topics: topics(), now: Date.now, log });
  const config = ControlConfig.parse({
    listen: { host: "127.0.0.1", port },
    policy: { requests_per_minute_max: 1_000_000, jobs_open_max: 100_000, risk_unknown: "read_only" },
  });
  const made = createControl({
    bus,
    config,
    dataDir: dir,
    signingKey: signingKeyIn(dir),
    now: Date.now,
    log,
    newId: () => newId(Date.now()),
  });
  running = { control: made, bus };
  await made.start();
  await made.leads(AbortSignal.timeout(LEAD_MS_MAX));
  const { address } = made;
  if (address === null) throw new Error(`control did not lead within ${LEAD_MS_MAX} ms: ${made.health().last_error}`);
  return address.port;
};

const token = async (uses: number): Promise<string> => {
  const made = await control().identities?.createToken(
    { for: "agent", site: "bench", uses, ttl_ms: FOREVER_MS },
    BY.name,
  );
  if (made === undefined || "refused" in made) throw new Error(`no token: ${made?.message ?? "control does not lead"}`);
  return made.text;
};

/** Enrols a site server; the request needs no way to here. */
const siteIdentity = async ({ server, dir }: { server: string; dir: string }): Promise<TlsIdentity> => {
  const { identities } = control();
  if (identities === null) throw new Error("control does not lead");
  const made = await identities.createToken({ for: "site", site: "bench", ttl_ms: FOREVER_MS }, BY.name);
  if ("refused" in made) throw new Error(`no token: ${made.message}`);
  const identity = await enrol({
    token: made.text,
    kind: "site",
    host: server,
    names: ["127.0.0.1", "localhost"],
    files: openIdentityFiles(join(dir, server)),
    exchange: (request) => identities.enrol(request),
  });
  return tlsIdentityOf(identity);
};

/** Submits a job and waits for its end. */
const once = async (request: JobRequest): Promise<{ commands: number; errors: number }> => {
  const job = await control().submit(request, BY);
  if (isRefused(job)) throw new Error(`a job was refused: ${job.refused}: ${job.message}`);
  return new Promise((resolve) => {
    control().follow(job.job_id, (event) => {
      if (event.type !== "end") return;
      const commands = Object.values(event.job.counts).reduce((sum, count) => sum + count, 0);
      resolve({ commands, errors: commands - (event.job.counts.succeeded ?? 0) });
    });
  });
};

const load = async ({ request, hosts, hostsPerJob, inFlight, seconds, rate }: Load): Promise<Loaded> => {
  const startedMs = performance.now();
  const end = startedMs + seconds * 1_000;
  const latenciesMs: number[] = [];
  let [next, jobs, commands, errors] = [0, 0, 0, 0];
  const batch = { ramp: false, concurrency_max: hostsPerJob, errors_max: hostsPerJob };
  const one = async (): Promise<void> => {
    const from = (next++ * hostsPerJob) % hosts.length;
    const mine = Array.from({ length: hostsPerJob }, (_, at) => hosts[(from + at) % hosts.length] ?? "");
    const beganMs = performance.now();
    const done = await once(JobRequest.parse({ ...request, targets: { hosts: mine }, batch }));
    latenciesMs.push(performance.now() - beganMs);
    jobs += 1;
    commands += done.commands;
    errors += done.errors;
  };
  if (rate > 0) await paced(one, { rate, end });
  else {
    const lane = async (): Promise<void> => {
      while (performance.now() < end) await one();
    };
    await Promise.all(Array.from({ length: Math.max(1, Math.round(inFlight / hostsPerJob)) }, lane));
  }
  return { jobs, commands, errors, latenciesMs, tookS: (performance.now() - startedMs) / 1_000 };
};

/** Open loop: who is late does not make the next wait. */
const paced = async (one: () => Promise<void>, { rate, end }: { rate: number; end: number }): Promise<void> => {
  const begun: Promise<void>[] = [];
  for (let dueMs = performance.now(); dueMs < end; dueMs += 1_000 / rate) {
    const waitMs = dueMs - performance.now();
    if (waitMs > 1) await delay(waitMs);
    begun.push(one());
  }
  await Promise.all(begun);
};

/** What stands on the bus from an offset on: who asks again goes on at `next`. */
const results = async (from: number): Promise<ResultsRead> => {
  if (running === null) throw new Error("control was not started");
  const found: ToldResult[] = [];
  const isRead = Promise.withResolvers<number>();
  const consumer = await running.bus.consume({
    group: `reader-${randomUUID()}`,
    topics: ["agent.results"],
    open: async ({ earliestOffset, endOffset }) => {
      const startOffset = Math.max(from, earliestOffset);
      if (startOffset >= endOffset) isRead.resolve(startOffset);
      return {
        startOffset,
        receive: async (messages, end) => {
          for (const { value } of messages) {
            // Control has written it: to check its shape a million times would slow what is measured.
            const result: CommandResult = JSON.parse(Buffer.from(value ?? []).toString());
            found.push([result.command_id, result.host, result.state, result.started_at_unix_ms !== null]);
          }
          const next = (messages.at(-1)?.offset ?? end) + 1;
          if (next >= end) isRead.resolve(next);
        },
      };
    },
  });
  const next = await isRead.promise;
  await consumer.stop();
  return { next, results: found };
};

const submit = async ({
  request,
  hosts,
  batch: asked,
}: {
  request: object;
  hosts: readonly string[];
  batch?: Partial<JobRequest["batch"]>;
}): Promise<string> => {
  const batch = { ramp: false, concurrency_max: hosts.length, errors_max: hosts.length, ...asked };
  const job = await control().submit(JobRequest.parse({ ...request, targets: { hosts }, batch }), BY);
  if (isRefused(job)) throw new Error(`a job was refused: ${job.refused}: ${job.message}`);
  return job.job_id;
};

const cancel = async (jobId: string): Promise<string | null> => {
  const cancelled = await control().cancel(jobId, BY, "");
  return isRefused(cancelled) ? cancelled.refused : null;
};

const JOBS_LISTED = 1_000;

const listed = ({ job_id, state, hosts, counts, request, stop_cause }: Job): ListedJob => ({
  job_id,
  state,
  hosts: hosts.length,
  counts,
  errors_max: request.batch.errors_max,
  stop_cause: stop_cause ?? null,
});

takeOrders({
  start,
  submit,
  cancel,
  results,
  jobs: (limit: number | null) =>
    control()
      .jobs({ limit: limit ?? JOBS_LISTED })
      .map(listed),
  token,
  siteIdentity,
  load,
  health: () => control().health(),
  sealed: () => control().health().sessions,
  stop: async () => {
    await running?.control.stop();
    await running?.bus.stop();
  },
});
