import { parseArgs } from "node:util";
import { Incident, RemediationRun } from "@homeostat/schemas";
import { z } from "zod";
import { type ApiClient, ApiError, connectTo } from "./client.ts";
import { FLAGS } from "./flags.ts";
import { decideJob } from "./jobs.ts";
import { refusalToExitCode } from "./run.ts";
import { table } from "./style.ts";
import { one, UsageError, type Verb } from "./verb.ts";

const NOT_FOUND = 404;
const Incidents = z.object({ incidents: z.array(Incident) });

export const incidents: Verb = async ({ args, env, out }) => {
  const { values } = parseArgs({ args: [...args], options: FLAGS.incidents });
  const list = await connectTo(values, env).get("/api/v1/incidents?limit=100", Incidents);
  if (values.json) out(JSON.stringify(list));
  else if (list.incidents.length === 0) out("no incidents");
  else
    out(
      table([
        ["incident", "state", "severity", "detected", "title"],
        ...list.incidents.map((incident) => [
          incident.incident_id,
          incident.state,
          incident.severity,
          new Date(incident.times.detected_at_unix_ms).toISOString(),
          incident.title,
        ]),
      ]),
    );
  return 0;
};

export const report: Verb = async ({ args, env, out }) => {
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: FLAGS.report });
  if (!["markdown", "html", "json"].includes(values.format))
    throw new UsageError(`--format ${values.format}: want markdown, html or json`);
  const id = one(positionals, "incident");
  out(await connectTo(values, env).text(`/api/v1/incidents/${encodeURIComponent(id)}/report?format=${values.format}`));
  return 0;
};

const decideRun = async (api: ApiClient, runId: string, decision: object): Promise<RemediationRun> => {
  const path = `/api/v1/runs/${encodeURIComponent(runId)}/decision`;
  try {
    return (await api.post(path, decision, z.object({ run: RemediationRun }))).run;
  } catch (error) {
    // Asked about jobs before.
    if (error instanceof ApiError && error.status === NOT_FOUND)
      throw new Error(`there is no run or job ${JSON.stringify(runId)}`, { cause: error });
    throw error;
  }
};

/** A remediation run or a job: both wait for a person, and their ids do not meet. */
const decide =
  (approved: boolean): Verb =>
  async ({ args, env, out, err }) => {
    const options = approved ? FLAGS.approve : FLAGS.reject;
    const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
    const id = one(positionals, "run or job");
    const api = connectTo(values, env);
    return refusalToExitCode(err, async () => {
      const job = await decideJob(api, id, { isApproved: approved, note: values.note });
      if (job !== null) {
        out(values.json ? JSON.stringify({ job }) : `job ${job.job_id} is ${job.state}`);
        return 0;
      }
      const by = values.by ?? env.USER ?? "unknown";
      const run = await decideRun(api, id, { approved, by, note: values.note });
      out(values.json ? JSON.stringify({ run }) : `run ${run.run_id} is ${run.state}`);
      return 0;
    });
  };

export const approve = decide(true);
export const reject = decide(false);

export const acknowledge: Verb = async ({ args, env, out }) => {
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: FLAGS.acknowledge });
  const id = one(positionals, "incident");
  const by = values.by ?? env.USER ?? "unknown";
  const path = `/api/v1/incidents/${encodeURIComponent(id)}/acknowledge`;
  const { incident } = await connectTo(values, env).post(path, { by }, z.object({ incident: Incident }));
  out(values.json ? JSON.stringify({ incident }) : `incident ${incident.incident_id} is acknowledged by ${by}`);
  return 0;
};
