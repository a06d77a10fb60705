import type { Store } from "@homeostat/analytics";
import { type Rule, rulesOf } from "@homeostat/detectors";
import { type BacktestReport, backtest } from "../backtest/backtest.ts";
import { openStoreOf } from "../backtest/open-store.ts";
import { parseDurationMs } from "../duration.ts";
import { createHourMemory } from "../hour-memory.ts";
import type { Options } from "../options.ts";
import { readRuleFile } from "../rule-files.ts";
import { readConfiguration } from "./configuration.ts";
import { style, table } from "./style.ts";
import { STOPPED_EARLY, UsageError, type VerbInput } from "./verb.ts";

export interface BacktestFlags {
  readonly rule: string;
  /** How far back, as `7d`; and how far back it ends. */
  readonly since: string;
  readonly until?: string | undefined;
  readonly config?: string | undefined;
  /** A file with rules that are not in the configuration, or stand there differently. */
  readonly rules?: string | undefined;
  readonly dataDir?: string | undefined;
  readonly json: boolean;
}

/** Progress is told each time that so much more is done. */
const PROGRESS_SHARE = 0.1;

const agoMs = (flag: string, text: string): number => {
  const ms = parseDurationMs(text);
  if (ms === null) throw new UsageError(`--${flag} ${text}: want a number and a unit, as 30m, 12h, 7d or 2w`);
  return ms;
};

/** Hours are kept for so long by default, samples and logs for weeks. */
const SINCE_DAYS_MAX = 400;
const SINCE_MS_MAX = SINCE_DAYS_MAX * 86_400_000;

const rangeOf = ({ since, until }: BacktestFlags, nowUnixMs: number) => {
  const range = {
    fromUnixMs: nowUnixMs - agoMs("since", since),
    toUnixMs: until === undefined ? nowUnixMs : nowUnixMs - agoMs("until", until),
  };
  if (nowUnixMs - range.fromUnixMs > SINCE_MS_MAX)
    throw new UsageError(`--since ${since}: want at most ${SINCE_DAYS_MAX}d`);
  if (range.fromUnixMs >= range.toUnixMs)
    throw new UsageError(
      until === undefined ? `--since ${since} is no time at all` : `--until ${until} is not after --since ${since}`,
    );
  return range;
};

/** The rule of this name: from the file of rules that are tried out, else from those that would be at work. */
const ruleNamed = (name: string, options: Options, rulesFile: string | undefined): Rule => {
  const tried = rulesFile === undefined ? { rules: [], problems: [] } : readRuleFile(rulesFile);
  if (tried.problems.length > 0) throw new Error([`${rulesFile} was refused:`, ...tried.problems].join("\n  - "));
  const known = [...tried.rules, ...rulesOf(options.detectors)];
  const found = known.find((rule) => rule.name === name);
  if (found !== undefined) return found;
  throw new UsageError(`no rule ${name}; there are: ${known.map((rule) => rule.name).join(", ")}`);
};

const time = (unixMs: number | null): string =>
  unixMs === null ? "still firing" : `${new Date(unixMs).toISOString().slice(0, 19)}Z`;

const timesText = (count: number): string => (count === 1 ? "once" : `${count} times`);

const SUMMARY_LENGTH_MAX = 120;

const reportText = (report: BacktestReport): string => {
  const { episodes, per_day, coverage, notes } = report;
  const entity = (one: BacktestReport["episodes"][number]): string =>
    [one.entity.host, one.entity.service, one.entity.path].filter((part) => part !== undefined).join(" ");
  const rows = episodes.map((one) => [
    time(one.started_at_unix_ms),
    time(one.resolved_at_unix_ms),
    entity(one),
    one.severity,
    one.summary.slice(0, SUMMARY_LENGTH_MAX),
  ]);
  const days = Object.entries(per_day).map(([day, count]) => [day, String(count)]);
  const from = `${time(report.from_unix_ms)} to ${time(report.to_unix_ms)}`;
  const seen = `${coverage.rows} rows of ${coverage.subjects} series, hosts or streams in ${coverage.hours_with_rows} of ${coverage.hours} hours`;
  return [
    style("bold", `${report.rule} (${report.detector}) from ${from} would have fired ${timesText(episodes.length)}.`),
    `It saw ${seen}.`,
    ...notes.map((note) => `Note: ${note}`),
    ...(rows.length === 0 ? [] : ["", table([["started", "resolved", "entity", "severity", "summary"], ...rows])]),
    "",
    table([["day (UTC)", "fired"], ...days]),
  ].join("\n");
};

/** Tells on stderr how far it is. */
const progressTo = (err: VerbInput["err"]) => {
  let next = PROGRESS_SHARE;
  return ({ share, rows, atUnixMs }: { share: number; rows: number; atUnixMs: number }): void => {
    if (share < next) return;
    next = share + PROGRESS_SHARE;
    err(`${Math.round(share * 100)} %, ${rows} rows, at ${time(atUnixMs)}`);
  };
};

/** Ctrl-C does not wait for a long statement. */
const untilAborted = (store: Store, signal: AbortSignal): Pick<Store, "run" | "samples"> => ({
  run: (query, params) => store.run(query, params, { signal }),
  samples: (asked) => store.samples(asked, { signal }),
});

/** Exit code 0 whether the rule fires or not: that is the answer. */
export const backtestVerb = async (input: VerbInput, flags: BacktestFlags): Promise<number> => {
  const { options: read } = readConfiguration(flags.config ?? null);
  const options = flags.dataDir === undefined ? read : { ...read, data_dir: flags.dataDir };
  const range = rangeOf(flags, Date.now());
  const rule = ruleNamed(flags.rule, options, flags.rules);
  const store = await openStoreOf(options, input.env, Date.now);
  try {
    const reading = untilAborted(store, input.signal);
    const report = await backtest(rule, options.detectors, range, {
      store: reading,
      memory: createHourMemory(() => reading),
      onProgress: progressTo(input.err),
      signal: input.signal,
    });
    input.out(flags.json ? JSON.stringify(report) : reportText(report));
    return 0;
  } catch (error) {
    if (!input.signal.aborted) throw error;
    input.err("stopped");
    return STOPPED_EARLY;
  } finally {
    await store.close();
  }
};
