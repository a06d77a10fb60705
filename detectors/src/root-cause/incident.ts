/** What is known of an incident; the ranking takes any part of it. All times are Unix times, in the unit that the name ends with. */

/**
 * One metric of one service. `values` covers the time around the detection, `normalValues` a time without the incident; where the latter are too few,
 * the values before the detection serve. NaN is "no value".
 */
export interface MetricSeries {
  readonly service: string;
  /** Its name; the words in it (cpu, memory, latency, p90, error, availability, request …) tell its family. */
  readonly kind: string;
  readonly timesUnixMs: ArrayLike<number>;
  readonly values: ArrayLike<number>;
  readonly normalValues: ArrayLike<number>;
}

export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for a root. */
  readonly parentSpanId: string;
  readonly service: string;
  readonly operation: string;
  readonly startUnixUs: number;
  readonly durationUs: number;
}

export interface LogLine {
  readonly timeUnixUs: number;
  readonly service: string;
  /** Empty where the line belongs to no trace. */
  readonly traceId: string;
  readonly message: string;
}

/** Something that people or machines changed: a release, a configuration. */
export interface ChangeEvent {
  readonly atUnixMs: number;
  readonly service: string;
  readonly summary: string;
}

export interface IncidentEvidence {
  readonly detectedAtUnixMs: number;
  readonly metrics: readonly MetricSeries[];
  /** [caller, callee]. What the spans show is added to it. */
  readonly graph?: readonly (readonly [string, string])[];
  /** The metric whose alert opened the incident. */
  readonly symptom?: { readonly service: string; readonly kind: string };
  readonly spans?: readonly Span[];
  readonly logs?: readonly LogLine[];
  /** Spans and lines of a time without the incident. Without them, those before the detection serve. */
  readonly normalSpans?: readonly Span[];
  readonly normalLogs?: readonly LogLine[];
  readonly changes?: readonly ChangeEvent[];
}

/** The kinds of evidence, each with its own way to be wrong. */
export type Source = "resource" | "latency" | "errors" | "spans" | "behaviour" | "changes";

/** One reason to suspect one service; `strength` 0..1 is how much of the incident it would explain, times how sure it is. */
export interface Clue {
  readonly source: Source;
  readonly service: string;
  readonly strength: number;
  readonly reason: string;
}
