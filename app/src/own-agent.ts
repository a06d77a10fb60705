import { type Agent, agentHost, createAgent, createBusLink, pluginLogSource, pluginPart } from "@homeostat/agent";
import type { Control } from "@homeostat/agent/control";
import type { Bus, DesiredPlugins, Log } from "@homeostat/schemas";
import type { DataDir } from "./data-dir.ts";
import type { Options } from "./options.ts";
import { pluginKeys, trustedKeys } from "./trusted-keys.ts";
import type { Undo } from "./undo.ts";

export interface OwnAgentSetting {
  readonly options: Options;
  readonly dataDir: DataDir;
  readonly version: string;
  readonly now: () => number;
  readonly log: Log;
  readonly undo: Undo;
}

export interface OwnAgent {
  readonly agent: Agent;
  readonly host: string;
  /** From control, as soon as there is one in this process: an agent on the bus has no session in which it could be told. */
  desired(desired: DesiredPlugins): void;
  /** Where artefacts of plugins come from. */
  fetchFrom(control: Control): void;
}

/** The agent in the platform's own process: it speaks to the bus itself. */
export const startOwnAgent = async (setting: OwnAgentSetting, bus: Bus): Promise<OwnAgent> => {
  const { options, dataDir, version, now, log, undo } = setting;
  const host = agentHost(options.agent);
  const link = createBusLink({ bus, host, log });
  let control: Control | null = null;
  let tell: (desired: DesiredPlugins) => void = () => undefined;
  const plugins = pluginPart({
    fetch: async (sha256, offset, length) => {
      const catalog = control?.plugins ?? null;
      if (catalog === null) throw new Error("no control plane leads in this process");
      return catalog.read(sha256, offset, length);
    },
    trustedKeys: pluginKeys({ options, dataDir }),
    version,
  });
  const agent = createAgent({
    config: { ...options.agent, logs: [...options.agent.logs, pluginLogSource(dataDir.agent)] },
    dir: dataDir.agent,
    link,
    trustedKeys: trustedKeys({ options, dataDir }),
    now,
    monotonicMs: () => performance.now(),
    log,
    parts: (surface) => {
      const part = plugins(surface);
      tell = (desired) =>
        void Promise.resolve(part.desired?.(desired)).catch((error: unknown) =>
          log.error({ err: error }, "what plugins are wished could not be written down"),
        );
      return [part];
    },
  });
  await agent.start();
  undo.add("agent", () => agent.stop());
  return {
    agent,
    host,
    desired: (desired) => tell(desired),
    fetchFrom: (leading) => {
      control = leading;
    },
  };
};
