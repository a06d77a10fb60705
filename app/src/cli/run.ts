import { parseArgs } from "node:util";
import { JobPreview } from "@homeostat/analytics";
import { Job, type JobRequest } from "@homeostat/schemas";
import { z } from "zod";
import { agentsOf } from "./all-agents.ts";
import { type ApiClient, ApiError, connectTo } from "./client.ts";
import { exitCodeOfRefusal } from "./exit-code.ts";
import { FLAGS } from "./flags.ts";
import { type FollowOptions, followJob } from "./follow-job.ts";
import { jobRequestOf, waitForIn } from "./job-request.ts";
import { counted } from "./job-words.ts";
import { printable } from "./terminal-text.ts";
import { one, UsageError, type Verb, type VerbInput } from "./verb.ts";

/** Hosts that a preview names. */
const NAMED_MAX = 100;
const OFFLINE_NAMED_MAX = 5;

export const previewOf = async (api: ApiClient, request: JobRequest): Promise<JobPreview> => {
  const body = { ...request, dry_run: true };
  return (await api.post("/api/v1/jobs", body, z.object({ preview: JobPreview }))).preview;
};

/** Resolves with the exit code. */
export const tellPreview = (
  found: JobPreview,
  { out, isJson }: { readonly out: VerbInput["out"]; readonly isJson: boolean },
): number => {
  if (isJson) {
    out(JSON.stringify(found));
    return 0;
  }
  const { hosts, risk, needs_approval, waves, sites } = found;
  const where = Object.entries(sites).map(([site, { targeted, of }]) => `${targeted} of ${of} at ${site}`);
  out(
    `would run on ${counted(hosts.length, "host")}${where.length === 0 ? "" : ` (${where.join(", ")})`}, risk ${risk}`,
  );
  out(needs_approval === 0 ? "needs nobody's approval" : `needs ${counted(needs_approval, "approval")} by others`);
  out(`in waves of ${waves.join(", ")}`);
  for (const host of hosts.slice(0, NAMED_MAX)) out(`  ${printable(host)}`);
  if (hosts.length > NAMED_MAX) out(`  and ${hosts.length - NAMED_MAX} more`);
  return 0;
};

/** A refusal is an answer with an exit code of its own. */
export const refusalToExitCode = async (err: VerbInput["err"], run: () => Promise<number>): Promise<number> => {
  try {
    return await run();
  } catch (error) {
    const code = exitCodeOfRefusal(error);
    if (code === null || !(error instanceof Error)) throw error;
    err(`homeostat: ${error.message}`);
    return code;
  }
};

interface WaitFlags {
  readonly wait: boolean;
  readonly "wait-for"?: string | undefined;
  readonly detach: boolean;
}

/** How long to wait for a job; null: until it has ended. */
export const waitIn = (values: WaitFlags): number | null => {
  if (values.detach && (values.wait || values["wait-for"] !== undefined))
    throw new UsageError("give --detach or --wait, not both");
  return waitForIn(values["wait-for"]);
};

/** Whoever waits for the job is told at once whom it waits for. */
const tellOffline = async (api: ApiClient, { hosts, request }: Job, err: VerbInput["err"]): Promise<void> => {
  const agents = await agentsOf(api, { state: "offline", site: request.targets.site });
  const offline = new Set(agents.map(({ host }) => host));
  const found = hosts.filter((host) => offline.has(host));
  if (found.length === 0) return;
  const more = found.length > OFFLINE_NAMED_MAX ? ` and ${found.length - OFFLINE_NAMED_MAX} more` : "";
  const named = found.slice(0, OFFLINE_NAMED_MAX).map(printable).join(", ");
  err(`offline: ${named}${more}; who is not back within ${request.expires_ms / 1_000} s runs nothing`);
};

/** Submits, and shows the job unless it is to be left alone. Resolves with the exit code. */
export const submitJob = async (
  input: Pick<VerbInput, "signal" | "out" | "err"> & { readonly api: ApiClient },
  request: JobRequest,
  { isDetached, ...options }: FollowOptions & { readonly isDetached: boolean },
): Promise<number> => {
  const { job } = await input.api.post("/api/v1/jobs", request, z.object({ job: Job }));
  if (!isDetached) {
    if (!options.isJson)
      await tellOffline(input.api, job, input.err).catch((error: unknown) => {
        // The job is under way: whoever follows it meets the same, and says where to look.
        if (!(error instanceof ApiError)) throw error;
      });
    return followJob(input, job, options);
  }
  input.out(options.isJson ? JSON.stringify({ job }) : job.job_id);
  return 0;
};

/** `homeostat run EXECUTOR|COMMAND`. */
export const run: Verb = async (input) => {
  const { args, env, out, err, signal } = input;
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: FLAGS.run });
  const what = one(positionals, "executor (service.restart) or declared command (disk-report)");
  const request = jobRequestOf(what, values);
  const waitMs = waitIn(values);
  const api = connectTo(values, env);
  return refusalToExitCode(err, async () => {
    if (values["dry-run"]) return tellPreview(await previewOf(api, request), { out, isJson: values.json });
    const options = {
      isJson: values.json,
      isRaw: values.raw,
      waitMs,
      passesExitCode: values["exit-code"],
      isDetached: values.detach,
    };
    return submitJob({ api, signal, out, err }, request, options);
  });
};
