import { parseArgs } from "node:util";
import { z } from "zod";
import { connectTo } from "./client.ts";
import { FLAGS } from "./flags.ts";
import { style, table } from "./style.ts";
import { one, UsageError, type Verb } from "./verb.ts";

export const start: Verb = async (input) => {
  const { values } = parseArgs({ args: [...input.args], options: FLAGS.start });
  const { start: startPlatform } = await import("./start.ts");
  return startPlatform({ ...input, configPath: values.config ?? null });
};

export const checkConfig: Verb = async ({ args, out }) => {
  const { positionals } = parseArgs({ args: [...args], allowPositionals: true });
  const path = one(positionals, "configuration file");
  const { readConfiguration } = await import("./configuration.ts");
  readConfiguration(path);
  out(`${path} is fine`);
  return 0;
};

export const drill: Verb = async ({ args, out }) => {
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: FLAGS.drill });
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

export const backtest: Verb = async (input) => {
  const { values, positionals } = parseArgs({
    args: [...input.args],
    allowPositionals: true,
    options: FLAGS.backtest,
  });
  const rule = one(positionals, "rule");
  const { backtestVerb } = await import("./backtest.ts");
  return backtestVerb(input, { ...values, rule, dataDir: values["data-dir"] });
};

const Health = z.object({
  status: z.string(),
  components: z.array(z.object({ name: z.string(), state: z.string(), detail: z.string() })),
});

export const status: Verb = async ({ args, env, out }) => {
  const { values } = parseArgs({ args: [...args], options: FLAGS.status });
  const api = connectTo(values, env);
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

export const reload: Verb = async ({ args, env, out }) => {
  const { values } = parseArgs({ args: [...args], options: FLAGS.reload });
  const answer = await connectTo(values, env).post("/api/v1/reload", {}, Reloaded);
  if (values.json) out(JSON.stringify(answer));
  else {
    const { added, changed, removed, needs_restart } = answer;
    out(`rules: ${added.length} added, ${changed.length} changed, ${removed.length} removed`);
    if (needs_restart.length > 0) out(`changed, but only a restart takes it up: ${needs_restart.join(", ")}`);
  }
  return 0;
};
