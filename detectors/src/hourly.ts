import type { Finding } from "@homeostat/schemas";
import type { z } from "zod";
import type { Series } from "./series.ts";

/** One series by the hour, as the store sums it up. */
export interface HourlySeries {
  readonly series: Series;
  /** A whole hour. */
  readonly fromUnixMs: number;
  /** The hours' means from there on (of a counter: rates per second); NaN where an hour has none. The last hour has ended. */
  readonly values: Float64Array;
}

/** `fine` ends what was announced of the series; `unknown` leaves it as it is: too little data is no all-clear. */
export type HourlyVerdict = "fine" | "unknown" | HourlyAlarm;

export interface HourlyAlarm extends Pick<Finding, "severity" | "category" | "value" | "unit" | "expected"> {
  /** A sentence for a person; cut to what a finding may hold. */
  readonly summary: string;
  /** Beside the series' own. */
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * A detector that looks at weeks of whole hours, once an hour, instead of at the stream. Pure and without a state of its own: what it has
 * announced is kept by who calls it. Its configuration has `metric`, `labels` and `not_labels` (spread Selector), and `series_max`.
 */
export interface HourlyDetector<Config> {
  readonly name: string;
  readonly config: z.ZodType<Config>;
  /** How many hours it wants to see. */
  hours(config: Config): number;
  judge(row: HourlySeries, config: Config): HourlyVerdict;
}
