import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { AuditVerdict } from "@homeostat/analytics";
import { AuditRecord } from "@homeostat/schemas";
import { z } from "zod";
import { connectTo } from "./client.ts";
import { FLAGS } from "./flags.ts";
import { refusalToExitCode } from "./run.ts";
import { style } from "./style.ts";
import { wholeNumberIn } from "./targets.ts";
import { printable } from "./terminal-text.ts";
import { STOPPED_EARLY, type Verb } from "./verb.ts";

const PAGE = 1_000;
const FOLLOW_MS = 1_000;
/** Following a chain from its first record takes as long as it is long. */
const VERIFY_MS_MAX = 600_000;
const Records = z.object({ records: z.array(AuditRecord) });

const line = ({ sequence, at_unix_ms, who, what, subject, details }: AuditRecord): string => {
  const rest = Object.keys(details).length === 0 ? "" : ` ${style("dim", printable(JSON.stringify(details)))}`;
  const at = new Date(at_unix_ms).toISOString();
  return `${String(sequence).padStart(6)} ${at} ${printable(`${who} ${what} ${subject}`)}${rest}`;
};

const read: Verb = async ({ args, env, out, err, signal }) => {
  const { values } = parseArgs({ args: [...args], options: FLAGS.audit });
  const api = connectTo(values, env);
  let from = values.from === undefined ? 1 : wholeNumberIn("from", values.from, [1, Number.MAX_SAFE_INTEGER]);
  return refusalToExitCode(err, async () => {
    while (!signal.aborted) {
      const { records } = await api.get(`/api/v1/audit?from=${from}&limit=${PAGE}`, Records);
      for (const record of records) out(values.json ? JSON.stringify(record) : line(record));
      from = (records.at(-1)?.sequence ?? from - 1) + 1;
      if (records.length === PAGE) continue;
      if (!values.follow) return 0;
      // Woken by Ctrl-C, which ends the loop.
      await Promise.race([delay(FOLLOW_MS, undefined, { ref: true }), aborted(signal)]);
    }
    return STOPPED_EARLY;
  });
};

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));

/** Exit code 1 when the log is not what was written. */
const verify: Verb = async ({ args, env, out, err }) => {
  const { values } = parseArgs({ args: [...args], options: FLAGS["audit verify"] });
  return refusalToExitCode(err, async () => {
    const asking = { timeoutMs: VERIFY_MS_MAX };
    const verdict = await connectTo(values, env).get("/api/v1/audit/verify", AuditVerdict, asking);
    if (values.json) out(JSON.stringify(verdict));
    else if (verdict.ok) out(`${style("green", "whole")}: ${verdict.records} records, head ${verdict.head_sha256}`);
    else out(`${style("red", "not whole")}: record ${verdict.at_sequence}: ${printable(verdict.flaw)}`);
    return verdict.ok ? 0 : 1;
  });
};

/** `homeostat audit [verify]`. */
export const audit: Verb = (input) =>
  input.args[0] === "verify" ? verify({ ...input, args: input.args.slice(1) }) : read(input);
