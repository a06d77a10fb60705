import type { Series } from "./series.ts";

/** What is known of the hosts that speak on one partition, by slot. */
export interface Hosts {
  readonly names: readonly string[];
  readonly slotOf: ReadonlyMap<string, number>;
  /** The newest event time of the host. */
  readonly lastEvent: Float64Array;
  /** When samples of the present last arrived, by the observer's clock. */
  readonly currentAt: Float64Array;
  /** The event time since which the host has spoken without a long pause. */
  readonly speakingSince: Float64Array;
}

export interface MetricWindow {
  /** When it arrived. */
  readonly nowUnixMs: number;
  /** A tick brings no samples: time has passed. */
  readonly isTick: boolean;
  /** Since when the observer has kept up with the bus without a pause; Infinity while it does not. Silence before it proves nothing. */
  readonly observingSinceUnixMs: number;
  /** The series that the rule watches, by slot. */
  readonly series: readonly Series[];
  readonly hosts: Hosts;
  readonly count: number;
  readonly slots: Uint32Array;
  readonly times: Float64Array;
  readonly values: Float64Array;
}

export interface Stream {
  readonly host: string;
  readonly service: string;
}

export interface LogWindow {
  readonly nowUnixMs: number;
  readonly isTick: boolean;
  /** The streams of log records, by slot. */
  readonly streams: readonly Stream[];
  readonly count: number;
  readonly slots: Uint32Array;
  /** Milliseconds. */
  readonly times: Float64Array;
  /** OpenTelemetry's severity numbers; 0 is unspecified. */
  readonly severities: Uint8Array;
  body(row: number): Uint8Array;
}
