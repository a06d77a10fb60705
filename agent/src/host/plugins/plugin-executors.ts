import type { PluginManifest } from "@homeostat/schemas";
import type { Execution, Executor, Outcome } from "../executor/executor.ts";
import { misfits, strictSchema } from "./args-schema.ts";
import type { ExecutorShelf } from "./plugin-host-types.ts";

type Execute = (executor: string, args: unknown, execution: Execution) => Promise<Outcome>;

/**
 * The executors of a plugin, as its manifest declares them.
 * @throws TypeError for a schema of arguments that cannot be used.
 */
export const executorsOf = ({ name: plugin, executors }: PluginManifest, execute: Execute): Executor[] =>
  executors.map(({ name, risk, args_schema }) => {
    const schema = strictSchema(args_schema);
    return {
      name,
      risk,
      prepare(args) {
        const refused = misfits(schema, args, "args");
        if (refused !== null) return { refused };
        return { target: `plugin:${plugin}:${name}`, run: (execution) => execute(name, args, execution) };
      },
    };
  });

/** Why a manifest cannot be used here; null when it can. `own` are the executors that this plugin has on the shelf already. */
export const manifestFlaw = (
  manifest: PluginManifest,
  { config, executors, own }: { config: unknown; executors: ExecutorShelf; own: ReadonlySet<string> },
): string | null => {
  const names = manifest.executors.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) return `it declares the executor ${twice} twice`;
  const taken = names.find((name) => executors.get(name) !== undefined && !own.has(name));
  if (taken !== undefined) return `its executor ${taken} has the name of one that is here already`;
  try {
    executorsOf(manifest, () => Promise.reject(new Error("never run")));
  } catch (error) {
    return `its arguments' schema: ${error instanceof Error ? error.message : String(error)}`;
  }
  try {
    return misfits(strictSchema(manifest.config_schema), config, "config");
  } catch (error) {
    return `its configuration's schema: ${error instanceof Error ? error.message : String(error)}`;
  }
};

/** The executors of one plugin on the agent's shelf. */
export class PlacedExecutors {
  readonly #shelf: ExecutorShelf;
  readonly #names = new Set<string>();

  constructor(shelf: ExecutorShelf) {
    this.#shelf = shelf;
  }

  get names(): ReadonlySet<string> {
    return this.#names;
  }

  /** @throws RangeError when there is no room, or a name is taken meanwhile; then none of them is there. */
  place(executors: readonly Executor[]): void {
    this.clear();
    try {
      for (const executor of executors) {
        this.#shelf.add(executor);
        this.#names.add(executor.name);
      }
    } catch (error) {
      this.clear();
      throw error;
    }
  }

  clear(): void {
    for (const name of this.#names) this.#shelf.remove(name);
    this.#names.clear();
  }
}
