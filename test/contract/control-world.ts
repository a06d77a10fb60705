import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach } from "vitest";
import { Fleet, type Member } from "../../agent/src/control/control-fleet.fixture.ts";
import { createEmbeddedBus } from "../../app/src/embedded/bus/index.ts";
import { type Bus, CommandResult, type Log, type OutgoingMessage, topics } from "../../schemas/src/index.ts";

/* Control planes and their agents on a bus of their own, for one test. */

const nothing = () => undefined;
export const log: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
export const undo: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

export interface World {
  readonly bus: Bus;
  readonly fleet: Fleet;
  readonly dir: string;
  /** Every result on the bus, in order. */
  readonly results: CommandResult[];
}

const embedded = (dir: string): Promise<Bus> => createEmbeddedBus({ dir, topics: topics(), now: Date.now, log });

export const openWorld = async (
  config?: unknown,
  openBus: (dir: string) => Promise<Bus> = embedded,
): Promise<World> => {
  const dir = await mkdtemp(join(tmpdir(), "homeostat-control-"));
  const bus = await openBus(dir);
  const fleet = new Fleet({ bus, dir: join(dir, "control"), log, config });
  const results: CommandResult[] = [];
  const observer = await bus.consume({
    group: "observer",
    topics: ["agent.results"],
    open: async ({ earliestOffset }) => ({
      startOffset: earliestOffset,
      receive: async (messages) => {
        for (const { value } of messages)
          results.push(CommandResult.parse(JSON.parse(Buffer.from(value ?? []).toString())));
      },
    }),
  });
  undo.push(async () => {
    await observer.stop();
    await bus.stop();
    await rm(dir, { recursive: true, force: true });
  });
  return { bus, fleet, dir, results };
};

export const startWith = async (world: World, hosts: readonly string[]): Promise<Member> => {
  const member = await world.fleet.member();
  undo.push(async () => member.control.stop());
  await world.fleet.enrol(member, hosts);
  await world.fleet.lead(member);
  return member;
};

/** A bus that says what is published with what, and keeps back what `isHeld` names. */
export const watchedBus = () => {
  const published: string[][] = [];
  const waiting: (() => void)[] = [];
  const open = (): void => {
    for (const go of waiting.splice(0)) go();
  };
  const gate = { isHeld: (_: OutgoingMessage): boolean => false, open, held: 0 };
  const openBus = async (dir: string): Promise<Bus> => {
    const bus = await createEmbeddedBus({ dir, topics: topics(), now: Date.now, log });
    const publish: Bus["publish"] = async (messages, options) => {
      published.push(messages.map(({ topic }) => topic));
      if (messages.some(gate.isHeld)) {
        gate.held += 1;
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
      await bus.publish(messages, options);
    };
    return {
      publish,
      consume: (consumer) => bus.consume(consumer),
      lag: (group, topic) => bus.lag(group, topic),
      stop: () => bus.stop(),
    };
  };
  return { published, gate, openBus };
};

/** As an agent would tell it that did what it was asked. */
export const resultOf = (command_id: string, host: string, changes: Partial<CommandResult> = {}): CommandResult => ({
  command_id,
  host,
  executor: "service.restart",
  state: "succeeded",
  exit_code: 0,
  stdout: "",
  stderr: "",
  output_truncated: false,
  started_at_unix_ms: null,
  ended_at_unix_ms: null,
  message: "",
  ...changes,
});
