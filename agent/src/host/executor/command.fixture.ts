import type { KeyObject } from "node:crypto";
import { type Command, type CommandArgs, commandsOf, dispatchOf, type GrantTerms } from "@homeostat/schemas";

export interface CommandTerms extends Partial<GrantTerms> {
  readonly args?: CommandArgs;
  readonly host?: string;
  /** By default the host alone. */
  readonly hosts?: readonly string[];
}

/** For tests: what the control plane sends to one host. */
export const commandBy = (
  privateKey: KeyObject,
  { args = {}, host = "h", hosts = [host], ...terms }: CommandTerms = {},
): Command => {
  const issued_at_unix_ms = terms.issued_at_unix_ms ?? 1_800_000_000_000;
  const defaults: GrantTerms = {
    command_id: "c1",
    job_id: "j1",
    requested_by: "engine",
    executor: "count",
    risk: "reversible",
    targets: { sites: {} },
    approvals: [],
    issued_at_unix_ms,
    not_after_unix_ms: issued_at_unix_ms + 60_000,
    timeout_ms: 5_000,
    output_bytes_max: 1_000,
    limits: {},
  };
  const dispatch = dispatchOf({ ...defaults, ...terms }, { args, hosts, privateKey });
  return commandsOf(dispatch)(hosts.indexOf(host));
};
