import { type DesiredPlugin, PluginManifest, type PluginStatus } from "@homeostat/schemas";

/** What came with the agent, in a plugin's form: listed, turned off and on like those that are installed. */
export interface Builtin {
  readonly manifest: PluginManifest;
  /** The host's own configuration leaves it on: what that has turned off, nobody turns on from afar. */
  readonly isAllowed: boolean;
  turnOn(): void;
  turnOff(): void;
  /** Why it does not work as it should; null when it does. */
  problem(): string | null;
}

export const builtinManifest = (
  of: { readonly name: string; readonly version: string } & (
    | { readonly collects: true }
    | { readonly executor: Pick<PluginManifest["executors"][number], "risk" | "args_schema"> }
  ),
): PluginManifest =>
  PluginManifest.parse({
    name: of.name,
    version: of.version,
    kind: "static",
    run: "builtin",
    collects: "collects" in of,
    executors: "executor" in of ? [{ name: of.name, ...of.executor }] : [],
  });

/** One of them, turned off or on as it is wished. */
export class BuiltinUnit {
  readonly #builtin: Builtin;
  #isOn: boolean;
  #desiredVersion: string | null = null;
  #failed: PluginStatus["last_failed"] = null;

  constructor(builtin: Builtin) {
    this.#builtin = builtin;
    this.#isOn = builtin.isAllowed;
  }

  /** null: nothing is wished, and it is on when the host allows it. */
  wish(wished: DesiredPlugin | null): void {
    this.#desiredVersion = wished?.release.manifest.version ?? null;
    this.#failed = null;
    if (wished !== null && wished.release.manifest.run !== "builtin") {
      this.#fail(wished.release.manifest.version, "it has the name of one that came with the agent");
      return;
    }
    const wanted = this.#builtin.isAllowed && (wished?.enabled ?? true);
    if (wanted === this.#isOn) return;
    try {
      if (wanted) this.#builtin.turnOn();
      else this.#builtin.turnOff();
      this.#isOn = wanted;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#fail(this.#builtin.manifest.version, `it cannot be turned ${wanted ? "on" : "off"}: ${why}`);
    }
  }

  status(): PluginStatus {
    const { manifest } = this.#builtin;
    const problem = this.#isOn ? this.#builtin.problem() : null;
    if (problem !== null) this.#fail(manifest.version, problem);
    const well = manifest.collects ? "running" : "idle";
    return {
      name: manifest.name,
      version: manifest.version,
      state: !this.#isOn ? "disabled" : problem === null ? well : "failed",
      pinned: false,
      desired_version: this.#desiredVersion,
      problem: (problem ?? "").slice(0, 1_000),
      last_failed: this.#failed,
    };
  }

  #fail(version: string, reason: string): void {
    this.#failed = { version, reason: reason.slice(0, 1_000) };
  }
}
