import { type Bus, Finding, type Log } from "@homeostat/schemas";
import { z } from "zod";
import { resolved } from "../episode.ts";
import type { HourlySeries, HourlyVerdict } from "../hourly.ts";
import type { Series } from "../series.ts";
import { Cap, orphansOfCap } from "./cap.ts";
import { Announced, HOUR_MS, type HourlyRule, isHeard, lookAtHours } from "./hourly-rule.ts";
import type { Snapshots } from "./partition.ts";
import { decodeSnapshot, encodeSnapshot, SNAPSHOT_VERSION } from "./snapshot.ts";

export interface HoursAsked {
  readonly metric: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly fromUnixMs: number;
  readonly toUnixMs: number;
}

/** Every series of a metric with these labels by the hour, from the store. */
export type ReadHours = (asked: HoursAsked) => AsyncIterable<HourlySeries>;

export interface HourlyLooksPorts {
  readonly bus: Pick<Bus, "publish">;
  readonly snapshots: Snapshots;
  readonly readHours: ReadHours;
  readonly log: Log;
}

const SNAPSHOT_NAME = "detectors";
const SNAPSHOT_KEY = "hours";

const Saved = z.strictObject({
  rules: z.array(z.strictObject({ key: z.string(), rule: z.string(), announced: Announced, cap: z.unknown() })),
  /** Published before it is known to be saved: told again in doubt. */
  outbox: z.array(Finding),
});
type Saved = z.infer<typeof Saved>;

const NOTHING: Saved = { rules: [], outbox: [] };

/** Other work of the process gets its turn after so many series: a forecast takes some milliseconds. */
const SERIES_PER_TURN = 4;

const yieldTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const load = async ({ snapshots, log }: HourlyLooksPorts): Promise<Saved> => {
  const bytes = await snapshots.load(SNAPSHOT_NAME, SNAPSHOT_KEY);
  if (bytes === null) return NOTHING;
  try {
    return Saved.parse(decodeSnapshot(bytes).json);
  } catch (error) {
    log.warn({ error: String(error) }, "what was announced of hours is damaged and starts anew");
    return NOTHING;
  }
};

const save = ({ snapshots }: HourlyLooksPorts, json: Saved): Promise<void> =>
  snapshots.save(SNAPSHOT_NAME, SNAPSHOT_KEY, SNAPSHOT_VERSION, encodeSnapshot({ json, columns: {} }));

/** The verdicts on all series of a rule, up to its cap. */
const judgeAll = async (
  rule: HourlyRule,
  { toUnixMs, nowUnixMs, readHours, cap }: { toUnixMs: number; nowUnixMs: number; readHours: ReadHours; cap: Cap },
): Promise<ReadonlyMap<Series, HourlyVerdict>> => {
  const verdicts = new Map<Series, HourlyVerdict>();
  const { metric, labels } = rule;
  for await (const row of readHours({ metric, labels, fromUnixMs: toUnixMs - rule.hours * HOUR_MS, toUnixMs })) {
    if (!rule.matches(row.series) || !isHeard(row)) continue;
    if (verdicts.size >= rule.seriesMax) {
      cap.refuse(row.series.host, nowUnixMs, metric);
      continue;
    }
    verdicts.set(row.series, rule.judge(row));
    if (verdicts.size % SERIES_PER_TURN === 0) await yieldTurn();
  }
  return verdicts;
};

const publish = ({ bus }: HourlyLooksPorts, findings: readonly Finding[]): Promise<void> =>
  bus.publish(
    findings.map((finding) => ({
      topic: "detect.findings",
      key: finding.entity.host,
      value: Buffer.from(JSON.stringify(finding)),
    })),
  );

const capOf = ({ rule, seriesMax }: HourlyRule): Cap =>
  new Cap({ rule: "series-cap", subject: rule, what: `series of rule ${rule}`, max: seriesMax });

/**
 * Lets the rules look at the hours that have passed, and publishes what they find. Nothing is kept between two looks but what is saved, so it
 * does not matter which process looks. What was announced by rules that are no more is taken back.
 * @returns how many series were judged.
 */
export const lookAtAllHours = async (
  rules: readonly HourlyRule[],
  nowUnixMs: number,
  ports: HourlyLooksPorts,
): Promise<number> => {
  const before = await load(ports);
  const toUnixMs = Math.floor(nowUnixMs / HOUR_MS) * HOUR_MS;
  const outbox: Finding[] = [...before.outbox];
  const after: Saved["rules"] = [];
  let judged = 0;
  for (const rule of rules) {
    const known = before.rules.find(({ key }) => key === rule.key);
    const cap = capOf(rule);
    if (known !== undefined) cap.load(known.cap);
    const verdicts = await judgeAll(rule, { toUnixMs, nowUnixMs, readHours: ports.readHours, cap });
    judged += verdicts.size;
    const { announced, findings } = lookAtHours(rule, known?.announced ?? {}, verdicts, { toUnixMs, nowUnixMs });
    outbox.push(...findings, ...cap.tick(nowUnixMs));
    after.push({ key: rule.key, rule: rule.rule, announced, cap: cap.save() });
  }
  const keys = new Set(rules.map(({ key }) => key));
  for (const { key, rule, announced, cap } of before.rules) {
    if (keys.has(key)) continue;
    for (const { finding } of Object.values(announced))
      outbox.push(resolved(finding, { summary: `Rule ${rule} has changed or is gone.` }));
    outbox.push(...orphansOfCap(cap, rule));
  }
  if (outbox.length === 0 && before.rules.length === 0 && after.length === 0) return judged;
  await save(ports, { rules: after, outbox });
  if (outbox.length > 0) await publish(ports, outbox);
  await save(ports, { rules: after, outbox: [] });
  return judged;
};
