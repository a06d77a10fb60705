import type { Store } from "@homeostat/analytics";
import {
  createReplay,
  type DetectorsConfig,
  type History,
  type HourlySeries,
  type HourMemory,
  type HourReplay,
  type Rule,
  type StreamReplay,
} from "@homeostat/detectors";
import { countByDay, EPISODES_MAX, type Episode, EpisodeBook } from "./episodes.ts";
import {
  countHours,
  type HourCount,
  logSeconds,
  metricSeconds,
  type Range,
  readSeries,
  type Second,
} from "./read-telemetry.ts";

export interface BacktestPorts {
  readonly store: Pick<Store, "run" | "samples">;
  readonly memory: HourMemory;
  /** From 0 to 1, now and then. */
  readonly onProgress: (done: { readonly share: number; readonly rows: number; readonly atUnixMs: number }) => void;
  readonly signal: AbortSignal;
}

/** What the store had to say about the range: a rule that found nothing where there was nothing has not been tried. */
export interface Coverage {
  readonly hours: number;
  readonly hours_with_rows: number;
  readonly rows: number;
  readonly first_row_hour_unix_ms: number | null;
  readonly last_row_hour_unix_ms: number | null;
  /** Series, hosts or streams of logs that the rule watched, and those beyond its cap. */
  readonly subjects: number;
  readonly refused_subjects: number;
  /** Of a rule that gets to know its series: those that it had not at the end. */
  readonly warming_up: number;
}

export interface BacktestReport {
  readonly rule: string;
  readonly detector: string;
  readonly from_unix_ms: number;
  readonly to_unix_ms: number;
  readonly episodes: readonly Episode[];
  readonly per_day: Readonly<Record<string, number>>;
  readonly coverage: Coverage;
  /** What a reader should know before trusting it, in sentences. */
  readonly notes: readonly string[];
}

const HOUR_MS = 3_600_000;

/**
 * Rules need some time to see what is going on: so many hours before the range are replayed, and what ended in them is not told. A rule that
 * gets to know its series first needs what it says, or a day.
 */
const leadHours = (rule: Rule): number => {
  if ("warm_up_hours" in rule) return rule.warm_up_hours + 1;
  return rule.detector === "host_anomaly" ? 25 : 1;
};

/** The observer of the past stood still when nothing at all came for so long. */
const PAUSE_MS = 5000;

/** A rule on hours looks every hour; a replay of weeks every so many: each look forecasts every series anew. */
const LOOK_EVERY_HOURS = 6;

/** Rows that are asked for at once, as far as they come evenly. */
const ROWS_AT_ONCE = 500_000;

/** A range in parts of whole seconds. */
const split = ({ fromUnixMs, toUnixMs }: Range, count: number): readonly Range[] => {
  const stepMs = Math.max(1000, Math.ceil((toUnixMs - fromUnixMs) / Math.max(1, count) / 1000) * 1000);
  const parts: Range[] = [];
  for (let at = fromUnixMs; at < toUnixMs; at += stepMs)
    parts.push({ fromUnixMs: at, toUnixMs: Math.min(at + stepMs, toUnixMs) });
  return parts;
};

const all = async <Row>(rows: AsyncIterable<Row>): Promise<Row[]> => {
  const found: Row[] = [];
  for await (const row of rows) found.push(row);
  return found;
};

const tellSeries = async (replay: StreamReplay, { store, memory }: BacktestPorts, range: Range): Promise<void> => {
  for (const batch of await readSeries(store, replay.selects, range))
    replay.take(batch, { key: null, nowUnixMs: range.fromUnixMs });
  if (!replay.lacksHistory()) return;
  const histories: History[] = [];
  for (const { metric, labels } of replay.selects)
    histories.push(
      ...(await all(memory.readHistories({ metric, labels, fingerprints: [], nowUnixMs: range.fromUnixMs }))),
    );
  replay.recall(histories);
};

interface Observer {
  /** Since when it has kept up. */
  since: number;
  /** When it last heard anything. */
  heard: number;
}

/** One second of the past, as it came: batches, then the tick. */
const playSecond = (
  replay: StreamReplay,
  { atUnixMs, batches }: Second,
  { observer, book }: { readonly observer: Observer; readonly book: EpisodeBook },
): void => {
  const nowUnixMs = atUnixMs + 1000;
  if (batches.length > 0) {
    if (!(nowUnixMs - observer.heard <= PAUSE_MS)) observer.since = nowUnixMs;
    observer.heard = nowUnixMs;
  }
  for (const { key, batch } of batches)
    for (const finding of replay.take(batch, { key, nowUnixMs })) book.add(finding, nowUnixMs);
  const isObserving = nowUnixMs - observer.heard <= PAUSE_MS;
  for (const finding of replay.tick(nowUnixMs, isObserving ? observer.since : Number.POSITIVE_INFINITY))
    book.add(finding, nowUnixMs);
};

const replayStream = async (
  replay: StreamReplay,
  hours: readonly HourCount[],
  range: Range,
  { store, onProgress, signal }: BacktestPorts,
  book: EpisodeBook,
): Promise<readonly HourCount[]> => {
  const counted: HourCount[] = [];
  const observer = { since: Number.POSITIVE_INFINITY, heard: Number.NEGATIVE_INFINITY };
  let rows = 0;
  for (const [index, hour] of hours.entries()) {
    signal.throwIfAborted();
    // Before the first row nothing has a state that time could change.
    if (rows === 0 && hour.rows === 0 && !replay.looksAtHosts) {
      counted.push(hour);
      continue;
    }
    const piece = {
      fromUnixMs: Math.max(hour.atUnixMs, range.fromUnixMs),
      toUnixMs: Math.min(hour.atUnixMs + HOUR_MS, range.toUnixMs),
    };
    let heard = 0;
    for (const part of split(piece, Math.ceil(hour.rows / ROWS_AT_ONCE))) {
      const seconds = replay.telemetry === "logs" ? logSeconds(store, part) : metricSeconds(store, replay, part);
      for await (const second of seconds) {
        heard += second.batches.length;
        playSecond(replay, second, { observer, book });
      }
    }
    // A rule on hosts alone has no rows of its own: what was heard of them counts.
    counted.push({ atUnixMs: hour.atUnixMs, rows: hour.rows || heard });
    rows += hour.rows || heard;
    onProgress({ share: (index + 1) / hours.length, rows, atUnixMs: piece.toUnixMs });
  }
  return counted;
};

const replayHours = async (
  replay: HourReplay,
  { fromUnixMs, toUnixMs }: Range,
  { memory, onProgress, signal }: BacktestPorts,
  book: EpisodeBook,
): Promise<readonly HourlySeries[]> => {
  const begin = Math.floor(fromUnixMs / HOUR_MS) * HOUR_MS;
  const [selected] = replay.selects;
  if (selected === undefined) return [];
  const { metric, labels } = selected;
  const earliest = Math.max(0, begin - replay.hours * HOUR_MS);
  const rows = await all(memory.readHours({ metric, labels, fromUnixMs: earliest, toUnixMs }));
  for (let at = begin; at <= toUnixMs; at += LOOK_EVERY_HOURS * HOUR_MS) {
    signal.throwIfAborted();
    for (const finding of replay.look(rows, at)) book.add(finding, at);
    onProgress({ share: (at - begin) / Math.max(1, toUnixMs - begin), rows: rows.length, atUnixMs: at });
    await new Promise((resolve) => setImmediate(resolve));
  }
  return rows;
};

const coverageOf = (
  hours: readonly HourCount[],
  subjects: Pick<Coverage, "subjects" | "refused_subjects" | "warming_up">,
): Coverage => {
  const withRows = hours.filter(({ rows }) => rows > 0);
  return {
    hours: hours.length,
    hours_with_rows: withRows.length,
    rows: withRows.reduce((sum, { rows }) => sum + rows, 0),
    first_row_hour_unix_ms: withRows[0]?.atUnixMs ?? null,
    last_row_hour_unix_ms: withRows.at(-1)?.atUnixMs ?? null,
    ...subjects,
  };
};

const notesOn = (coverage: Coverage, telemetry: string): readonly string[] => {
  const { hours, hours_with_rows, subjects, refused_subjects, warming_up } = coverage;
  const missing = hours - hours_with_rows;
  return [
    hours_with_rows === 0 && "The store has nothing of what the rule watches in this time: it has not been tried.",
    hours_with_rows > 0 && missing > 0 && `${missing} of ${hours} hours have no rows: nothing could be found in them.`,
    refused_subjects > 0 && `${refused_subjects} series or streams are beyond the caps and were not watched.`,
    warming_up > 0 &&
      `${warming_up} of ${subjects} series were still warming up at the end: the rule could not judge them.`,
    telemetry === "hours" && `It looked every ${LOOK_EVERY_HOURS} hours; at work it looks every hour.`,
    telemetry !== "hours" &&
      "Every row counts as arrived in the second of its own time; times without any row count as a pause of the observer.",
  ].filter((note) => note !== false);
};

const hourCounts = (rows: readonly HourlySeries[], { fromUnixMs, toUnixMs }: Range): HourCount[] => {
  const hours: HourCount[] = [];
  for (let at = Math.floor(fromUnixMs / HOUR_MS) * HOUR_MS; at < toUnixMs; at += HOUR_MS)
    hours.push({
      atUnixMs: at,
      rows: rows.filter((row) => Number.isFinite(row.values[Math.floor((at - row.fromUnixMs) / HOUR_MS)])).length,
    });
  return hours;
};

/** What a rule would have fired in a time of the past, from what the store has of it, by the very detectors that run. */
export const backtest = async (
  rule: Rule,
  config: DetectorsConfig,
  asked: Range,
  ports: BacktestPorts,
): Promise<BacktestReport> => {
  const replay = createReplay(rule, config);
  const book = new EpisodeBook();
  const report = (coverage: Coverage): BacktestReport => {
    const episodes = book.since(asked.fromUnixMs);
    const tooMany = `More than ${EPISODES_MAX} episodes: at least ${book.beyond} more are not told.`;
    return {
      rule: rule.name,
      detector: rule.detector,
      from_unix_ms: asked.fromUnixMs,
      to_unix_ms: asked.toUnixMs,
      episodes,
      per_day: countByDay(episodes, asked),
      coverage,
      notes: [...(book.beyond > 0 ? [tooMany] : []), ...notesOn(coverage, replay.telemetry)],
    };
  };
  if (replay.telemetry === "hours") {
    const rows = await replayHours(replay, asked, ports, book);
    return report(coverageOf(hourCounts(rows, asked), { subjects: rows.length, refused_subjects: 0, warming_up: 0 }));
  }
  const range = {
    fromUnixMs: Math.max(0, asked.fromUnixMs - leadHours(rule) * HOUR_MS),
    toUnixMs: asked.toUnixMs,
  };
  const hours = await countHours(ports.store, replay.telemetry === "logs" ? null : replay.selects, range);
  if (replay.telemetry === "metrics") await tellSeries(replay, ports, range);
  const counted = await replayStream(replay, hours, range, ports, book);
  const { watched, refused } = replay.subjects();
  const subjects = {
    subjects: watched,
    refused_subjects: refused,
    warming_up: replay.readiness(asked.toUnixMs)?.warming_up ?? 0,
  };
  return report(
    coverageOf(
      counted.filter(({ atUnixMs }) => atUnixMs + HOUR_MS > asked.fromUnixMs),
      subjects,
    ),
  );
};
