import type { Finding } from "@homeostat/schemas";
import type { Detector } from "./detector.ts";
import type { Series } from "./series.ts";
import type { Hosts, LogWindow, MetricWindow, Stream } from "./window.ts";

/** 2026-11-21 00:00:00 UTC, a Saturday. */
export const T0 = 1_795_219_200_000;

export const seriesNamed = (metric: string, more: Partial<Series> = {}): Series => ({
  fingerprint: "00000000000000aa",
  metric,
  unit: "1",
  isCounter: false,
  host: "h1",
  service: "",
  labels: { "host.name": "h1" },
  ...more,
});

export const hostsOf = (
  hosts: readonly { name: string; lastEvent: number; currentAt: number; speakingSince?: number }[],
): Hosts => ({
  names: hosts.map(({ name }) => name),
  slotOf: new Map(hosts.map(({ name }, slot) => [name, slot])),
  lastEvent: Float64Array.from(hosts, ({ lastEvent }) => lastEvent),
  currentAt: Float64Array.from(hosts, ({ currentAt }) => currentAt),
  speakingSince: Float64Array.from(hosts, ({ speakingSince }) => speakingSince ?? 0),
});

export interface Sample {
  readonly slot?: number;
  readonly time: number;
  readonly value: number;
}

export const samplesWindow = (
  series: readonly Series[],
  samples: readonly Sample[],
  more: Partial<MetricWindow> = {},
): MetricWindow => ({
  nowUnixMs: Math.max(0, ...samples.map(({ time }) => (Number.isFinite(time) ? time : 0))),
  isTick: false,
  observingSinceUnixMs: Number.POSITIVE_INFINITY,
  series,
  hosts: hostsOf([]),
  count: samples.length,
  slots: Uint32Array.from(samples, ({ slot }) => slot ?? 0),
  times: Float64Array.from(samples, ({ time }) => time),
  values: Float64Array.from(samples, ({ value }) => value),
  ...more,
});

export interface Line {
  readonly time: number;
  readonly text: string;
  readonly severity?: number;
  readonly slot?: number;
}

export const linesWindow = (
  streams: readonly Stream[],
  lines: readonly Line[],
  more: Partial<LogWindow> = {},
): LogWindow => ({
  nowUnixMs: Math.max(0, ...lines.map(({ time }) => time)),
  isTick: false,
  streams,
  count: lines.length,
  slots: Uint32Array.from(lines, ({ slot }) => slot ?? 0),
  times: Float64Array.from(lines, ({ time }) => time),
  severities: Uint8Array.from(lines, ({ severity }) => severity ?? 9),
  body: (row) => Buffer.from(lines[row]?.text ?? ""),
  ...more,
});

/** All that a detector finds in these windows; before the windows of `restartBefore` its state is saved and loaded, as after a restart. */
export const play = <Config, State, Window>(
  detector: Detector<Config, State, Window>,
  config: Config,
  windows: readonly Window[],
  restartBefore: (index: number) => boolean = () => false,
): readonly Finding[] => {
  let state = detector.start(config);
  return windows.flatMap((window, index) => {
    if (restartBefore(index)) {
      const { json, columns, open } = detector.save(state);
      state = detector.load(
        { json: JSON.parse(JSON.stringify(json)), columns: structuredClone(columns), open },
        config,
      );
    }
    const stepped = detector.step(state, window, config);
    state = stepped.state;
    return stepped.findings;
  });
};
