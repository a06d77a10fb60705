import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { printable, seconds, style, table } from "../cli/style.ts";
import { SCENARIOS, type Scenario } from "./scenarios.ts";
import { openShopWorld, type ShopWorld } from "./shop-world.ts";
import { type Chain, incidentsSince, type Link, readChain, watchChain } from "./watch.ts";

const RESOLVE_TIMEOUT_MS = 90_000;
const WELL_TIMEOUT_MS = 10_000;
/** The shop works undisturbed for this long first: a detector that compares with "before" needs a before. */
const QUIET_MS = 15_000;

export interface DrillResult {
  readonly scenario: string;
  readonly healed: boolean;
  readonly detectSeconds: number | null;
  readonly resolveSeconds: number | null;
  /** Actions that ran and were not the one right action on the right target. */
  readonly wrongActions: number;
  readonly why: string;
}

interface DrillOptions {
  readonly say: (line: string) => void;
  /** Where the HTML report goes; null writes none. */
  readonly reportDir: string | null;
  readonly verbose: boolean;
}

const waitUntil = async (isSo: () => Promise<boolean>, timeoutMs: number): Promise<boolean> => {
  const deadline = Date.now() + timeoutMs;
  while (Date.now() < deadline) {
    if (await isSo()) return true;
    await delay(250);
  }
  return false;
};

const countWrongActions = (chains: readonly Chain[], { rightAction }: Scenario): number =>
  chains
    .flatMap(({ runs }) => runs)
    .filter(({ outcomes, plan }) => outcomes.length > 0 && plan !== null)
    .filter(({ plan }) => {
      const isRight =
        plan?.action === rightAction.action &&
        Object.entries(rightAction.params).every(([name, value]) => plan.params[name] === value);
      return !isRight;
    }).length;

const linkLine = (link: Link, injectedAtUnixMs: number): string => {
  const after = `+${((link.atUnixMs - injectedAtUnixMs) / 1000).toFixed(1)} s`;
  return `${style("dim", after.padStart(9))}  ${style("bold", link.name.padEnd(9))} ${printable(link.text)}`;
};

const verdict = async (world: ShopWorld, scenario: Scenario, chain: Chain): Promise<string> => {
  if (chain.incident === null) return "no incident was opened";
  if (chain.incident.state !== "resolved" && chain.incident.state !== "closed")
    return `the incident is ${chain.incident.state}`;
  if (!chain.runs.some((run) => run.state === "succeeded")) return "no remediation run succeeded";
  return (await waitUntil(() => scenario.isWell(world), WELL_TIMEOUT_MS))
    ? ""
    : "the platform says healed, the shop says not";
};

const showReport = async (world: ShopWorld, chain: Chain, scenario: Scenario, options: DrillOptions): Promise<void> => {
  if (chain.incident === null || options.reportDir === null) return;
  const path = `/api/v1/incidents/${encodeURIComponent(chain.incident.incident_id)}/report`;
  const file = resolve(options.reportDir, `drill-${scenario.name}.html`);
  options.say("");
  options.say((await world.api.text(`${path}?format=markdown`)).split("\n").map(printable).join("\n"));
  writeFileSync(file, await world.api.text(`${path}?format=html`));
  options.say(`report: ${file}`);
};

/** One drill, on a platform and a shop of its own. */
export const runDrill = async (scenario: Scenario, options: DrillOptions): Promise<DrillResult> => {
  const { say } = options;
  say(`${style("bold", scenario.name)}: ${scenario.what}`);
  const world = await openShopWorld((line) => options.verbose && say(style("dim", `  | ${printable(line)}`)));
  try {
    say(style("dim", `  the platform watches a shop; ${seconds(QUIET_MS)} of quiet first`));
    if (!(await waitUntil(() => scenario.isWell(world), WELL_TIMEOUT_MS)))
      throw new Error("the shop does not work before the fault");
    const quietSince = Date.now();
    await delay(QUIET_MS);
    const falseAlarms = await incidentsSince(world.api, quietSince);
    const injectedAt = Date.now();
    const done = await scenario.inject(world);
    say(linkLine({ name: "injected", atUnixMs: injectedAt, text: done }, injectedAt));
    const chain = await watchChain(world.api, {
      sinceUnixMs: injectedAt,
      timeoutMs: RESOLVE_TIMEOUT_MS,
      onLink: (link) => say(linkLine(link, injectedAt)),
    });
    const why = await verdict(world, scenario, chain);
    const all = await Promise.all(
      (await incidentsSince(world.api, 0)).map(({ incident_id }) => readChain(world.api, incident_id)),
    );
    await showReport(world, chain, scenario, options);
    const times = chain.incident?.times;
    const since = (at: number | null | undefined) =>
      at === null || at === undefined ? null : (at - injectedAt) / 1000;
    const result = {
      scenario: scenario.name,
      healed: why === "",
      detectSeconds: since(times?.detected_at_unix_ms),
      resolveSeconds: why === "" ? since(chain.incident?.state_since_unix_ms) : null,
      wrongActions: countWrongActions(all, scenario),
      why: [why, ...falseAlarms.map(({ title }) => `false alarm before the fault: ${title}`)]
        .filter(Boolean)
        .join("; "),
    };
    say(result.healed ? style("green", "healed") : style("red", `not healed: ${result.why}`));
    return result;
  } finally {
    await world.stop();
  }
};

const round = (value: number): number => Math.round(value * 10) / 10;

const summarise = (results: readonly DrillResult[]) => {
  const names = [...new Set(results.map(({ scenario }) => scenario))];
  const max = (values: readonly (number | null)[]): number | null =>
    values.includes(null) || values.length === 0 ? null : round(Math.max(...values.filter((value) => value !== null)));
  return {
    drills: Object.fromEntries(
      names.map((name) => {
        const runs = results.filter(({ scenario }) => scenario === name);
        return [
          name,
          {
            runs: runs.length,
            healed: runs.filter(({ healed }) => healed).length,
            detect_s_max: max(runs.map(({ detectSeconds }) => detectSeconds)),
            resolve_s_max: max(runs.map(({ resolveSeconds }) => resolveSeconds)),
          },
        ];
      }),
    ),
    wrong_actions: results.reduce((sum, { wrongActions }) => sum + wrongActions, 0),
  };
};

const showTable = (results: readonly DrillResult[]): string =>
  table([
    ["drill", "run", "healed", "detected", "resolved", "wrong actions", "note"],
    ...results.map((result, i) => [
      result.scenario,
      String(results.slice(0, i + 1).filter(({ scenario }) => scenario === result.scenario).length),
      result.healed ? "yes" : "NO",
      result.detectSeconds === null ? "-" : `${result.detectSeconds.toFixed(1)} s`,
      result.resolveSeconds === null ? "-" : `${result.resolveSeconds.toFixed(1)} s`,
      String(result.wrongActions),
      result.why,
    ]),
  ]);

/** `homeostat drill`: exit code 0 only if every drill healed and nothing wrong was done. */
export const drill = async (options: {
  readonly names: readonly string[];
  readonly runs: number;
  readonly json: boolean;
  readonly verbose: boolean;
  readonly reportDir: string;
  readonly out: (line: string) => void;
}): Promise<number> => {
  const chosen = SCENARIOS.filter(({ name }) => options.names.includes(name));
  const results: DrillResult[] = [];
  const say = options.json ? () => undefined : options.out;
  for (let run = 0; run < options.runs; run += 1)
    for (const scenario of chosen)
      results.push(
        await runDrill(scenario, {
          say,
          reportDir: options.runs === 1 ? options.reportDir : null,
          verbose: options.verbose,
        }),
      );
  if (results.length > 1) say(`\n${showTable(results)}`);
  if (options.json || results.length > 1) options.out(JSON.stringify(summarise(results)));
  return results.every(({ healed, wrongActions }) => healed && wrongActions === 0) ? 0 : 1;
};
