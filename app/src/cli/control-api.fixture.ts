import { generateKeyPairSync, type KeyObject, randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Agent, AgentConfig, createAgent, createBusLink } from "@homeostat/agent";
import { type Control, ControlConfig, createControl } from "@homeostat/agent/control";
import { type Bus, type Log, topics } from "@homeostat/schemas";
import { agentApi } from "../agent-api.ts";
import { createEmbeddedBus } from "../embedded/bus/index.ts";
import { RecordedSessions, type ShellSessionsOptions } from "../shell-sessions.ts";
import { createTranscripts, TranscriptsConfig } from "../transcripts.ts";
import { fleetApi, TOKEN } from "./fleet-api.fixture.ts";
import { VERBS } from "./verbs.ts";

const nothing = () => undefined;
export const log: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

export interface ControlApi {
  readonly dir: string;
  readonly bus: Bus;
  readonly control: Control;
  readonly sessions: RecordedSessions;
  readonly url: string;
  /** A verb with its words, as main.ts runs it for whoever may do everything. */
  readonly run: (line: string) => Promise<{ readonly code: number; readonly out: string; readonly err: string }>;
  /** An agent that speaks to the bus itself, not yet started. */
  readonly agent: (host: string, more?: object, parts?: Pick<Parameters<typeof createAgent>[0], "parts">) => Agent;
  readonly close: () => Promise<void>;
}

/** A control plane that leads, on a bus of its own, and its API. */
export const openControlApi = async (options: {
  readonly config?: object;
  readonly pluginKeys?: readonly KeyObject[];
  readonly users?: NonNullable<Parameters<typeof fleetApi>[0]["users"]>;
  /** What sessions see of control. */
  readonly sessionsOn?: (control: Control) => ShellSessionsOptions["control"];
}): Promise<ControlApi> => {
  const dir = await mkdtemp(join(tmpdir(), "homeostat-control-api-"));
  const bus = await createEmbeddedBus({ dir: join(dir, "bus"), topics: topics(), now: Date.now, log });
  const { privateKey: signingKey, publicKey } = generateKeyPairSync("ed25519");
  const control = createControl({
    bus,
    config: ControlConfig.parse(options.config ?? {}),
    dataDir: join(dir, "control"),
    signingKey,
    pluginKeys: options.pluginKeys ?? [],
    now: Date.now,
    log,
    newId: randomUUID,
  });
  await control.start();
  await control.leads(new AbortController().signal);
  const config = TranscriptsConfig.parse({});
  const transcripts = createTranscripts({ dir: join(dir, "transcripts"), config, now: Date.now });
  const sessionBytesMax = config.session_bytes_max;
  const seen = options.sessionsOn?.(control) ?? control;
  const sessions = new RecordedSessions({ control: seen, transcripts, sessionBytesMax, now: Date.now, log });
  const api = fleetApi({ log, users: options.users ?? [], agentPlatform: agentApi(control, sessions) });
  const url = await api.listen({ host: "127.0.0.1", port: 0 });
  return {
    dir,
    bus,
    control,
    sessions,
    url,
    agent: (host, more = {}, parts = {}) =>
      createAgent({
        config: AgentConfig.parse({ host, heartbeat_ms: 1_000, ...more }),
        dir: join(dir, host),
        link: createBusLink({ bus, host }),
        trustedKeys: [publicKey],
        now: Date.now,
        monotonicMs: () => performance.now(),
        log,
        ...parts,
      }),
    run: async (line) => {
      const [verb = "", ...args] = line.split(" ");
      const [out, err]: [string[], string[]] = [[], []];
      const code = await (VERBS[verb] ?? Promise.reject)({
        args,
        env: { HOMEOSTAT_API: url, HOMEOSTAT_TOKEN: TOKEN },
        signal: new AbortController().signal,
        onHangup: nothing,
        out: (text: string) => void out.push(text),
        err: (text: string) => void err.push(text),
      });
      return { code, out: out.join("\n"), err: err.join("\n") };
    },
    close: async () => {
      await api.close();
      await sessions.stop();
      await control.stop();
      await bus.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
};
