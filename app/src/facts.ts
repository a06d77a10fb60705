import type { FactQuery } from "@homeostat/remediation";
import type { Facts } from "@homeostat/schemas";

/** The newest values of the series that match, within the last `window_s`; declared here, made by analytics. */
export type ReadMetric = (query: {
  readonly metric: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly aggregate: FactQuery["aggregate"];
  readonly fromUnixMs: number;
  readonly toUnixMs: number;
}) => Promise<number | null>;

/** Measures every query at one moment. What cannot be read is null: "no data" is never "fine". */
export const createFactsReader =
  ({ readMetric, now }: { readMetric: ReadMetric; now: () => number }) =>
  async (queries: readonly FactQuery[]): Promise<Facts> => {
    const at = now();
    const values = await Promise.all(
      queries.map(async ({ name, metric, labels, aggregate, window_s }) => {
        const value = await readMetric({ metric, labels, aggregate, fromUnixMs: at - window_s * 1000, toUnixMs: at });
        return [name, value] as const;
      }),
    );
    return { at_unix_ms: at, values: Object.fromEntries(values) };
  };
