import type { Action } from "./action.ts";
import { freeDisk } from "./free-disk.ts";
import { restartService } from "./restart-service.ts";
import { runCommand } from "./run-command.ts";

/** An action whose parameters have been parsed by its own schema before any other call. */
export type AnyAction = Action<unknown>;

// Action is contravariant in its parameters; `parse` before use is what makes the widening sound.
const widen = <Params>(action: Action<Params>): AnyAction => ({
  ...action,
  facts: (params, target) => action.facts(action.params.parse(params), target),
  plan: (params, facts, context) => action.plan(action.params.parse(params), facts, context),
});

export const ACTIONS = {
  restart_service: widen(restartService),
  free_disk: widen(freeDisk),
  run_command: widen(runCommand),
} as const satisfies Record<string, AnyAction>;

export type ActionName = keyof typeof ACTIONS;

export const actionNamed = (name: string): AnyAction | null =>
  Object.hasOwn(ACTIONS, name) ? ACTIONS[name as ActionName] : null;
