import type { Gateway, Submission } from "../../gateway/intake.ts";
import type { ResourceLogs } from "./logs-request.ts";
import { Refusals } from "./refusals.ts";

/** Where resources and series are looked up, and where their records go: the gateway's, or those of a topic's reader. */
export type Registry = Pick<Gateway, "resource" | "series">;
export type LogSink = Pick<Submission, "log">;

export const appendLogs = (registry: Registry, sink: LogSink, request: readonly ResourceLogs[]): Refusals => {
  const refusals = new Refusals();
  for (const { resource, records } of request) {
    if (records.length === 0) continue;
    const ref = registry.resource(resource);
    for (const record of records) {
      const refusal = sink.log(ref, record);
      if (refusal !== null) refusals.note(refusal);
    }
  }
  return refusals;
};
