import { writeSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import {
  type Execution,
  type Executor,
  failed,
  type Outcome,
  refusalOf,
  succeeded,
} from "../host/executor/executor.ts";

/** Where `simulate.run_marker` notes that it runs, before anything else: `<host> <command_id>`, one line for each run. */
export interface Markers {
  readonly fd: number;
}

const Echo = z.strictObject({ text: z.string().max(65_536).default("") });
const Sleep = z.strictObject({ ms: z.int().min(0).max(3_600_000) });
const Fail = z.strictObject({ message: z.string().max(1_000).default("as asked") });
const RunMarker = z.strictObject({ ms: z.int().min(0).max(3_600_000).default(0) });

const cutOff = async (ms: number, { signal }: Execution): Promise<Outcome> => {
  if (ms > 0) {
    const isCut = await delay(ms, false, { signal }).catch(() => true);
    if (isCut) return failed("ended before its time");
  }
  return succeeded("");
};

const executor = <Args>(
  name: string,
  args: z.ZodType<Args>,
  run: (args: Args, execution: Execution) => Promise<Outcome>,
): Executor => {
  let prepared = 0;
  return {
    name,
    risk: "read_only",
    prepare: (value) => {
      const parsed = args.safeParse(value);
      if (!parsed.success) return refusalOf(parsed.error);
      // Nothing real is touched: they may overlap.
      prepared += 1;
      return { target: `${name} ${prepared}`, run: (execution) => run(parsed.data, execution) };
    },
  };
};

/** What can be done to a virtual host. None of it touches this machine, but for the markers. */
export const virtualExecutors = (host: string, markers: Markers | null): Executor[] => [
  executor("simulate.echo", Echo, async ({ text }) => succeeded("", text)),
  executor("simulate.sleep", Sleep, ({ ms }, execution) => cutOff(ms, execution)),
  executor("simulate.fail", Fail, async ({ message }) => failed(message)),
  executor("simulate.run_marker", RunMarker, async ({ ms }, execution) => {
    if (markers === null) return failed("this simulation keeps no markers");
    // Appended by one call: what was run is in the file whatever becomes of this process.
    writeSync(markers.fd, `${host} ${execution.commandId}\n`);
    return cutOff(ms, execution);
  }),
];
