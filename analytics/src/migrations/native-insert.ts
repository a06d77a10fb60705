import { TELEMETRY, type TelemetrySchema } from "@homeostat/schemas";

/** Places that are tried, fewest first: whole numbers, hundredths, ten-thousandths. */
const DIVISORS = [1, 100, 10_000] as const;

/** An Int64 holds more than this; infinities and NaN, which cannot be cast, are not below it. */
const SCALED_MAX = 9e18;

const scaled = (divisor: number): string =>
  `toInt64(round(if(abs(value) < ${SCALED_MAX / divisor}, value, 0) * ${divisor}))`;

/** What is read again has every bit of what came; -0 and what is no such decimal fail here by themselves. */
const isExact = (divisor: number): string =>
  `reinterpretAsUInt64(${scaled(divisor)} / ${divisor}) = reinterpretAsUInt64(value)`;

const choose = (of: (divisor: number) => string, otherwise: string): string =>
  `multiIf(${DIVISORS.map((divisor) => `${isExact(divisor)}, ${of(divisor)}`).join(", ")}, ${otherwise})`;

const SPLIT_SAMPLES = `
  metric_id, fingerprint, timestamp,
  toUInt16(${choose(String, "0")}) AS divisor,
  ${choose(scaled, "0")} AS scaled,
  if(divisor = 0, value, 0) AS raw`;

/** The statement whose body is batches of `schema`, for `table` (the schema's own, or one like it). */
export const nativeInsert = (schema: TelemetrySchema, table: string = schema): string => {
  if (schema !== "metric_samples") return `INSERT INTO ${table} FORMAT Native`;
  const columns = TELEMETRY[schema].map(({ name, type }) => `${name} ${type}`).join(", ");
  return `INSERT INTO ${table} (metric_id, fingerprint, timestamp, divisor, scaled, raw)
SELECT ${SPLIT_SAMPLES}
FROM input('${columns}')
FORMAT Native`;
};
