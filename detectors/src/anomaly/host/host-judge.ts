/** A host under watch: its model and its alert, judged row by row. */
import { decide, type HostAlert, makeHostAlert } from "./host-alert.ts";
import {
  type HostModel,
  type HostRow,
  loadHostModel,
  makeHostModel,
  observeRow,
  pickHostMetrics,
  saveHostModel,
  unusualScore,
} from "./host-score.ts";

export interface HostJudge {
  model: HostModel;
  readonly alert: HostAlert;
}

export interface Judgement {
  /** From 0, in widths of the usual bands. */
  readonly score: number;
  /** What the score is held against. */
  readonly level: number;
  readonly isAlert: boolean;
}

export const makeHostJudge = (metrics: number): HostJudge => ({
  model: makeHostModel(metrics),
  alert: makeHostAlert(),
});

/** A row that is not newer than the last is passed over: null. Its score uses what came before it only. */
export const judgeRow = ({ model, alert }: HostJudge, row: HostRow, levelMin: number): Judgement | null => {
  const before = model.timeUnixMs;
  if (!Number.isFinite(row.timeUnixMs) || row.timeUnixMs <= before) return null;
  const elapsedMs = Number.isNaN(before) ? 0 : row.timeUnixMs - before;
  // The score that is unusual for this host is that of the rows before this one.
  const level = Math.max(levelMin, unusualScore(model));
  observeRow(model, row);
  // The alert looks at the present only: what was an anomaly minutes ago must not keep it on.
  const isAlert = decide(alert, { timeUnixMs: row.timeUnixMs, elapsedMs, score: model.score, level });
  return { score: Math.max(model.score, model.memory), level, isAlert };
};

export interface TopMetric {
  readonly metric: number;
  /** Of all the evidence of the row. */
  readonly share: number;
}

/** The metrics that made the last row's score, most first; those that gave nothing are left out. */
export const topMetrics = ({ model: { evidence } }: HostJudge, limit: number): readonly TopMetric[] => {
  const total = evidence.reduce((sum, part) => sum + part, 0);
  return Array.from(evidence, (part, metric) => ({ metric, share: part / total }))
    .filter(({ share }) => share > 0)
    .sort((a, b) => b.share - a.share || a.metric - b.metric)
    .slice(0, limit);
};

/** The judge of these metrics, in this order; a number that it does not know is a new metric. */
export const pickMetrics = (judge: HostJudge, kept: ArrayLike<number>): void => {
  judge.model = pickHostMetrics(judge.model, kept);
};

const ALERT = ["startedUnixMs", "calmRows", "doubt", "seenMs", "rows", "recent"] as const;

export const saveHostJudge = ({ model, alert }: HostJudge): Record<string, Float64Array> => ({
  ...saveHostModel(model),
  alert: Float64Array.of(alert.isOn ? 1 : 0, ...ALERT.map((name) => alert[name])),
});

/** @throws RangeError when the arrays do not fit together. */
export const loadHostJudge = (saved: Readonly<Record<string, Float64Array>>): HostJudge => {
  const alert = makeHostAlert();
  alert.isOn = saved.alert?.[0] === 1;
  ALERT.forEach((name, place) => {
    alert[name] = saved.alert?.[place + 1] ?? alert[name];
  });
  return { model: loadHostModel(saved), alert };
};
