import type { Executor } from "./executor.ts";

/** Above this a plugin's executors are not taken: a host that declares more is broken. */
export const EXECUTORS_MAX = 256;

/** What this agent can be told to do. Plugins add to it and take from it while the agent runs; a command is prepared by what is there then. */
export interface ExecutorRegistry {
  get(name: string): Executor | undefined;
  /** @throws RangeError when the name is taken, or there is no room. */
  add(executor: Executor): void;
  remove(name: string): void;
  names(): string[];
}

export const createExecutorRegistry = (executors: readonly Executor[] = []): ExecutorRegistry => {
  const byName = new Map<string, Executor>();
  const add = (executor: Executor): void => {
    if (byName.has(executor.name)) throw new RangeError(`an executor named ${executor.name} is there already`);
    if (byName.size >= EXECUTORS_MAX)
      throw new RangeError(`no room for ${executor.name}: ${EXECUTORS_MAX} executors are there`);
    byName.set(executor.name, executor);
  };
  for (const executor of executors) add(executor);
  return {
    get: (name) => byName.get(name),
    add,
    remove: (name) => void byName.delete(name),
    names: () => [...byName.keys()].sort(),
  };
};
