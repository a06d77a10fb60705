import type { LogLine, MetricSeries, Span } from "./incident.ts";

/** A generated incident's clock: detection at one hour, one value a minute from ten minutes before it to ten after. */
export const DETECTED_MS = 3_600_000;
export const TIMES_MS = Float64Array.from({ length: 20 }, (_, at) => DETECTED_MS - 600_000 + at * 60_000);

/** Around a level, without chance: the same every time. */
const wave = (level: number, count: number, swing: number): Float64Array =>
  Float64Array.from(
    { length: count },
    (_, at) => level + swing * Math.sin(at * 1.7) + (swing / 2) * Math.cos(at * 0.9),
  );

/** A metric at `level`, which from the detection on is at `to`. */
export const metric = (
  service: string,
  kind: string,
  { level, to = level }: { level: number; to?: number },
): MetricSeries => {
  const swing = Math.abs(level) * 0.02;
  const values = wave(level, TIMES_MS.length, swing).map((value, at) =>
    (TIMES_MS[at] as number) >= DETECTED_MS ? value + to - level : value,
  );
  return { service, kind, timesUnixMs: TIMES_MS, values, normalValues: wave(level, 120, swing) };
};

/** Requests as a shop serves them: front calls cart and pay, pay calls bank; each server span below its caller's client span. */
export interface TrafficOptions {
  readonly traces: number;
  readonly startMs: number;
  /** Own time in ms by service, where it is not one. */
  readonly workMs?: Readonly<Record<string, number>>;
  /** Time in ms that a call loses on its way to the service. */
  readonly wayMs?: Readonly<Record<string, number>>;
  /** Calls that are not made, as caller>callee. */
  readonly without?: readonly string[];
}

const CALLS: Readonly<Record<string, readonly string[]>> = {
  front: ["cart", "pay"],
  pay: ["bank"],
  cart: [],
  bank: [],
};

export const traffic = ({ traces, startMs, workMs = {}, wayMs = {}, without = [] }: TrafficOptions): Span[] => {
  const spans: Span[] = [];
  const serve = (traceId: string, service: string, parentSpanId: string, startUs: number): number => {
    const place = spans.length;
    const spanId = `s${place}`;
    const jitter = 1 + ((Number(traceId.slice(1)) * 7919) % 100) / 1000;
    let now = startUs + (workMs[service] ?? 1) * 1000 * jitter;
    spans.push({
      traceId,
      spanId,
      parentSpanId,
      service,
      operation: `serve ${service}`,
      startUnixUs: startUs,
      durationUs: 0,
    });
    for (const callee of CALLS[service] ?? []) {
      if (without.includes(`${service}>${callee}`)) continue;
      const client = spans.length;
      const begin = now;
      spans.push({
        traceId,
        spanId: `s${client}`,
        parentSpanId: spanId,
        service,
        operation: `GET ${callee}`,
        startUnixUs: begin,
        durationUs: 0,
      });
      const way = (wayMs[callee] ?? 0.5) * 500 * jitter;
      now = serve(traceId, callee, `s${client}`, begin + way) + way;
      spans[client] = { ...(spans[client] as Span), durationUs: now - begin };
    }
    spans[place] = { ...(spans[place] as Span), durationUs: now - startUs };
    return now;
  };
  for (let trace = 0; trace < traces; trace++) serve(`t${trace}`, "front", "", startMs * 1000 + trace * 100_000);
  return spans;
};

/** Lines of one service for each of its calls, in their order. */
export const linesOf = (spans: readonly Span[], service: string, messages: readonly string[]): LogLine[] =>
  spans
    .filter((span) => span.service === service && span.operation === `serve ${service}`)
    .flatMap(({ traceId, startUnixUs }) =>
      messages.map((message, at) => ({ timeUnixUs: startUnixUs + at, service, traceId, message })),
    );
