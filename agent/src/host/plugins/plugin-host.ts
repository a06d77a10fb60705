import { createHash } from "node:crypto";
import { canonicalJson, DesiredPlugins, type PluginStatus } from "@homeostat/schemas";
import type { Collector } from "../collectors/collector.ts";
import { markedProcesses } from "../executor/marked-processes.ts";
import { signalGroup } from "../executor/process-group.ts";
import { BuiltinUnit } from "./builtin.ts";
import { PACE } from "./pace.ts";
import type { PluginHost, PluginHostOptions } from "./plugin-host-types.ts";
import { PLUGIN_MARK } from "./plugin-process.ts";
import { PluginUnit } from "./plugin-unit.ts";
import { PluginStore } from "./store.ts";

const COLLECT_MS = 1_000;

export const createPluginHost = (options: PluginHostOptions): PluginHost & { settled(): Promise<void> } =>
  new InstalledPlugins(options);

class InstalledPlugins implements PluginHost {
  readonly #options: PluginHostOptions;
  readonly #store: PluginStore;
  readonly #builtins: ReadonlyMap<string, BuiltinUnit>;
  readonly #units = new Map<string, PluginUnit>();
  readonly #mark: string;
  readonly collector: Collector;
  #isRunning = false;

  constructor(options: PluginHostOptions) {
    this.#options = options;
    this.#store = new PluginStore(options);
    this.#builtins = new Map(options.builtins.map((builtin) => [builtin.manifest.name, new BuiltinUnit(builtin)]));
    // A digest: a path may hold anything, an environment variable should not.
    this.#mark = createHash("sha256").update(this.#store.path).digest("hex").slice(0, 32);
    this.collector = {
      name: "plugins",
      everyMs: COLLECT_MS,
      collect: () => {
        for (const unit of this.#units.values()) unit.handOnMetrics();
      },
    };
  }

  async start(): Promise<void> {
    this.#endOrphans();
    this.#isRunning = true;
    const desired = this.#store.desired();
    if (desired !== null) this.#bringAbout(desired);
    // Without a wish nothing is run; what was removed while the agent was ended half-way is removed now.
    else for (const name of this.#store.names()) this.#store.remove(name);
  }

  async stop(): Promise<void> {
    this.#isRunning = false;
    await Promise.all([...this.#units.values()].map((unit) => unit.stop()));
    this.#units.clear();
  }

  async desired(value: DesiredPlugins): Promise<void> {
    const desired = DesiredPlugins.parse(value);
    const known = this.#store.desired();
    // Told again at each connection: the disk need not hear of it.
    if (known === null || canonicalJson(known) !== canonicalJson(desired)) this.#store.writeDesired(desired);
    if (this.#isRunning) this.#bringAbout(desired);
  }

  status(): readonly PluginStatus[] {
    const builtins = [...this.#builtins.values()].map((unit) => unit.status());
    const installed = [...this.#units.values()].map((unit) => unit.status()).filter((status) => status !== null);
    return [...builtins, ...installed];
  }

  problems(): readonly string[] {
    // What came with the agent and fails is among the agent's own problems already.
    const builtins = [...this.#builtins.values()].map((unit) => ({ ...unit.status(), problem: "" }));
    const installed = [...this.#units.values()].map((unit) => unit.status()).filter((status) => status !== null);
    return [...builtins.filter(({ state }) => state !== "failed"), ...installed].flatMap(problemsOf);
  }

  /** For tests: when everything that was wished is done or given up. */
  async settled(): Promise<void> {
    await Promise.all([...this.#units.values()].map((unit) => unit.settled()));
  }

  #bringAbout({ plugins }: DesiredPlugins): void {
    const byName = new Map(plugins.map((plugin) => [plugin.release.manifest.name, plugin]));
    for (const [name, unit] of this.#builtins) {
      unit.wish(byName.get(name) ?? null);
      byName.delete(name);
    }
    for (const name of new Set([...this.#units.keys(), ...this.#store.names(), ...byName.keys()]))
      this.#unit(name).wish(byName.get(name) ?? null);
  }

  #unit(name: string): PluginUnit {
    const known = this.#units.get(name);
    if (known !== undefined) return known;
    const { onChange, pace, ...options } = this.#options;
    const unit: PluginUnit = new PluginUnit({
      ...options,
      name,
      store: this.#store,
      pace: { ...PACE, ...pace },
      mark: this.#mark,
      onChange: () => {
        if (unit.isGone) this.#units.delete(name);
        onChange?.();
      },
    });
    this.#units.set(name, unit);
    return unit;
  }

  /** Children of an agent that was killed: nobody supervises them, and the new agent starts its own. */
  #endOrphans(): void {
    for (const pid of markedProcesses(this.#options.proc ?? "/proc", `${PLUGIN_MARK}=${this.#mark}`)) {
      if (pid === process.pid) continue;
      this.#options.log.warn({ pid }, "ended a plugin's process that an earlier agent had left behind");
      try {
        signalGroup(pid, "SIGKILL");
        process.kill(pid, "SIGKILL");
      } catch (error) {
        if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
      }
    }
  }
}

const problemsOf = ({ name, desired_version, problem, last_failed, state }: PluginStatus): string[] => {
  if (state === "disabled") return [];
  const isBehind = last_failed !== null && last_failed.version === desired_version;
  return [
    ...(isBehind ? [`plugin ${name} ${last_failed.version} failed: ${last_failed.reason}`] : []),
    ...(problem === "" ? [] : [`plugin ${name}: ${problem}`]),
  ];
};
