import { parseArgs } from "node:util";
import { Incident, RemediationRun } from "@homeostat/schemas";
import { z } from "zod";
import { connect } from "./client.ts";
import { style, table } from "./style.ts";
import { UsageError, VERSION, type Verb } from "./verb.ts";

const DATA_DIR = { "data-dir": { type: "string", default: ".homeostat" } } as const;
const JSON_FLAG = { json: { type: "boolean", default: false } } as const;

const one = (positionals: readonly string[], what: string): string => {
  const [value, ...rest] = positionals;
  if (value === undefined || rest.length > 0) throw new UsageError(`give exactly one ${what}`);
  return value;
};

const HELP = `homeostat watches a fleet and heals it.

  homeostat start [--config FILE]         run the platform (Ctrl-C stops it; the data stays;
                                          changed rules are taken up at once, and at SIGHUP)
  homeostat check-config FILE             say everything that is wrong with a configuration
  homeostat backtest RULE --since 7d      say what a rule would have fired on the telemetry that is stored
            [--until 1d] [--config FILE] [--rules FILE] [--json]
  homeostat drill NAME… | --all           break a real service and watch it being healed
            [--runs N] [--json] [--verbose] [--report-dir DIR]
            names: service-crash, log-errors, disk-filling

On a running platform (add --data-dir DIR when it is not .homeostat; --json for programs):
  homeostat status                        what runs where, and how it fares
  homeostat reload                        read the configuration again: other rules, without a restart
  homeostat incidents                     open and recent incidents
  homeostat report INCIDENT [--format markdown|html|json]
  homeostat approve RUN [--note TEXT]     let a waiting remediation run go on
  homeostat reject RUN [--note TEXT]
  homeostat acknowledge INCIDENT
  homeostat ledger [--host H] [--since 1d]  what became of every row that was produced; 1 when something is missing
  homeostat dlq list [--topic T] [--reason R]  what could not be inserted, and why (kept seven days)
  homeostat dlq show LETTER               its rows, or its first bytes
  homeostat dlq replay LETTER… | --all [--topic T] [--reason R] [--dry-run]   send them again; rows come in once
  homeostat help | version

Examples:
  npm start
  npm run drill -- service-crash
  npx homeostat backtest cpu-unusual --since 7d
  npx homeostat incidents --json | jq '.incidents[0]'

Exit codes: 0 done, 1 failed or not healed, 2 called wrongly, 130 stopped by Ctrl-C. NO_COLOR is honoured.`;

const start: Verb = async (input) => {
  const { values } = parseArgs({ args: [...input.args], options: { config: { type: "string" } } });
  const { start: startPlatform } = await import("./start.ts");
  return startPlatform({ ...input, configPath: values.config ?? null });
};

const checkConfig: Verb = async ({ args, out }) => {
  const { positionals } = parseArgs({ args: [...args], allowPositionals: true });
  const path = one(positionals, "configuration file");
  const { readConfiguration } = await import("./configuration.ts");
  readConfiguration(path);
  out(`${path} is fine`);
  return 0;
};

const drill: Verb = async ({ args, out }) => {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      ...JSON_FLAG,
      all: { type: "boolean", default: false },
      runs: { type: "string", default: "1" },
      verbose: { type: "boolean", default: false },
      "report-dir": { type: "string", default: "." },
    },
  });
  const { SCENARIOS } = await import("../drill/scenarios.ts");
  const known = SCENARIOS.map(({ name }) => name);
  const names = values.all ? known : positionals;
  const unknown = names.filter((name) => !known.includes(name));
  if (names.length === 0 || unknown.length > 0)
    throw new UsageError(
      `${unknown.length > 0 ? `no such drill: ${unknown.join(", ")}; ` : ""}give --all or some of: ${known.join(", ")}`,
    );
  const runs = Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1 || runs > 1000)
    throw new UsageError(`--runs ${values.runs}: want a whole number from 1 to 1000`);
  const { drill: runDrills } = await import("../drill/drill.ts");
  return runDrills({ names, runs, json: values.json, verbose: values.verbose, reportDir: values["report-dir"], out });
};

const backtest: Verb = async (input) => {
  const { values, positionals } = parseArgs({
    args: [...input.args],
    allowPositionals: true,
    options: {
      ...JSON_FLAG,
      since: { type: "string", default: "7d" },
      until: { type: "string" },
      config: { type: "string" },
      rules: { type: "string" },
      "data-dir": { type: "string" },
    },
  });
  const rule = one(positionals, "rule");
  const { backtestVerb } = await import("./backtest.ts");
  return backtestVerb(input, { ...values, rule, dataDir: values["data-dir"] });
};

const Health = z.object({
  status: z.string(),
  components: z.array(z.object({ name: z.string(), state: z.string(), detail: z.string() })),
});

const status: Verb = async ({ args, out }) => {
  const { values } = parseArgs({ args: [...args], options: { ...DATA_DIR, ...JSON_FLAG } });
  const api = connect(values["data-dir"]);
  const health = Health.parse(JSON.parse(await api.text("/api/v1/health?always=200")));
  if (values.json) out(JSON.stringify({ url: api.url, ...health }));
  else {
    out(`${style("bold", health.status)} at ${api.url}`);
    out(
      table([
        ["part", "state", "detail"],
        ...health.components.map(({ name, state, detail }) => [name, state, detail]),
      ]),
    );
  }
  return health.status === "ok" ? 0 : 1;
};

const Reloaded = z.object({
  added: z.array(z.string()),
  changed: z.array(z.string()),
  removed: z.array(z.string()),
  unchanged: z.array(z.string()),
  needs_restart: z.array(z.string()),
});

const reload: Verb = async ({ args, out }) => {
  const { values } = parseArgs({ args: [...args], options: { ...DATA_DIR, ...JSON_FLAG } });
  const answer = await connect(values["data-dir"]).post("/api/v1/reload", {}, Reloaded);
  if (values.json) out(JSON.stringify(answer));
  else {
    const { added, changed, removed, needs_restart } = answer;
    out(`rules: ${added.length} added, ${changed.length} changed, ${removed.length} removed`);
    if (needs_restart.length > 0) out(`changed, but only a restart takes it up: ${needs_restart.join(", ")}`);
  }
  return 0;
};

const Incidents = z.object({ incidents: z.array(Incident) });

const incidents: Verb = async ({ args, out }) => {
  const { values } = parseArgs({ args: [...args], options: { ...DATA_DIR, ...JSON_FLAG } });
  const list = await connect(values["data-dir"]).get("/api/v1/incidents?limit=100", Incidents);
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

const report: Verb = async ({ args, out }) => {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { ...DATA_DIR, format: { type: "string", default: "markdown" } },
  });
  if (!["markdown", "html", "json"].includes(values.format))
    throw new UsageError(`--format ${values.format}: want markdown, html or json`);
  const id = one(positionals, "incident");
  out(
    await connect(values["data-dir"]).text(
      `/api/v1/incidents/${encodeURIComponent(id)}/report?format=${values.format}`,
    ),
  );
  return 0;
};

const decide =
  (approved: boolean): Verb =>
  async ({ args, env, out }) => {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { ...DATA_DIR, ...JSON_FLAG, note: { type: "string", default: "" }, by: { type: "string" } },
    });
    const runId = one(positionals, "run");
    const by = values.by ?? env.USER ?? "unknown";
    const path = `/api/v1/runs/${encodeURIComponent(runId)}/decision`;
    const { run } = await connect(values["data-dir"]).post(
      path,
      { approved, by, note: values.note },
      z.object({ run: RemediationRun }),
    );
    out(values.json ? JSON.stringify({ run }) : `run ${run.run_id} is ${run.state}`);
    return 0;
  };

const acknowledge: Verb = async ({ args, env, out }) => {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { ...DATA_DIR, ...JSON_FLAG, by: { type: "string" } },
  });
  const id = one(positionals, "incident");
  const by = values.by ?? env.USER ?? "unknown";
  const path = `/api/v1/incidents/${encodeURIComponent(id)}/acknowledge`;
  const { incident } = await connect(values["data-dir"]).post(path, { by }, z.object({ incident: Incident }));
  out(values.json ? JSON.stringify({ incident }) : `incident ${incident.incident_id} is acknowledged by ${by}`);
  return 0;
};

const help: Verb = async ({ out }) => {
  out(HELP);
  return 0;
};

const version: Verb = async ({ out }) => {
  out(VERSION);
  return 0;
};

export const VERBS: Readonly<Record<string, Verb>> = {
  start,
  backtest,
  drill,
  status,
  reload,
  incidents,
  report,
  approve: decide(true),
  reject: decide(false),
  acknowledge,
  dlq: async (input) => (await import("./dlq.ts")).dlq(input),
  ledger: async (input) => (await import("./ledger.ts")).ledger(input),
  "check-config": checkConfig,
  help,
  version,
};
