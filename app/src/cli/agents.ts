import { parseArgs } from "node:util";
import { AgentRow } from "@homeostat/analytics";
import { z } from "zod";
import { agentsOf } from "./all-agents.ts";
import { connectTo } from "./client.ts";
import { wordIn } from "./flag-values.ts";
import { FLAGS } from "./flags.ts";
import { ago, style, table } from "./style.ts";
import { printable } from "./terminal-text.ts";
import { updateAgents } from "./update-agents.ts";
import { one, type Verb } from "./verb.ts";

const labelText = (labels: AgentRow["labels"]): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");

const list: Verb = async ({ args, env, out }) => {
  const { values } = parseArgs({ args: [...args], options: FLAGS.agents });
  const { labels, site } = values;
  const state = values.state === undefined ? undefined : wordIn("state", values.state, AgentRow.shape.state.options);
  const agents = await agentsOf(connectTo(values, env), { labels, site, state });
  if (values.json) out(JSON.stringify({ agents }));
  else if (agents.length === 0) out("no agents");
  else
    out(
      table([
        ["host", "state", "site", "seen", "version", "labels", "problems"],
        ...agents.map((agent) => [
          agent.host,
          agent.state,
          agent.site,
          ago(agent.last_seen_unix_ms, Date.now()),
          agent.agent_version,
          labelText(agent.labels),
          agent.problems.length === 0 ? "" : `${agent.problems.length}: ${agent.problems[0]}`,
        ]),
      ]),
    );
  return 0;
};

const show: Verb = async ({ args, env, out }) => {
  const options = FLAGS["agents show"];
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
  const host = one(positionals, "host");
  const path = `/api/v1/agents/${encodeURIComponent(host)}`;
  const { agent } = await connectTo(values, env).get(path, z.object({ agent: AgentRow }));
  if (values.json) {
    out(JSON.stringify({ agent }));
    return 0;
  }
  const line = (name: string, value: string): void => out(`  ${style("dim", name.padEnd(9))} ${printable(value)}`);
  out(`${style("bold", printable(agent.host))} ${agent.state}`);
  line("site", agent.site === "" ? "none: it speaks to the bus itself" : agent.site);
  line("server", agent.server ?? "not connected to one");
  line("seen", ago(agent.last_seen_unix_ms, Date.now()));
  line("version", agent.agent_version);
  line("labels", labelText(agent.labels));
  line("clock", agent.clock_skew_ms === null ? "not measured" : `${agent.clock_skew_ms.toFixed(1)} ms off`);
  for (const problem of agent.problems) line("problem", problem);
  if (agent.plugins.length > 0)
    out(
      table([
        ["plugin", "version", "state", "pinned", "failed last"],
        ...agent.plugins.map(({ name, version, state, pinned, last_failed }) => [
          name,
          version,
          state,
          pinned ? "yes" : "",
          last_failed === null ? "" : `${last_failed.version}: ${last_failed.reason}`,
        ]),
      ]),
    );
  return 0;
};

/** `homeostat agents [show HOST | update …]`. */
export const agents: Verb = (input) => {
  const [which, ...args] = input.args;
  if (which === "show") return show({ ...input, args });
  if (which === "update") return updateAgents({ ...input, args });
  return list(input);
};
