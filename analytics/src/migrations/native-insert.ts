import { TELEMETRY, type TelemetrySchema } from "@homeostat/schemas";

/** Places that are tried, fewest first: whole numbers, hundredths, ten-thousandths. */
const DIVISORS = [1, 100, 10_000] as const;

/** An Int64 holds more than this; infinities are not below it. */
const SCALED_MAX = 9e18;

/** The bits of -0, which equals 0 and yet must come back as it was. */
const NEGATIVE_ZERO = "9223372036854775808";

/**
 * What is read again equals what came, NaN never does. In floats from end to end: a whole number below SCALED_MAX that a Float64 holds
 * goes through an Int64 and back unchanged, so the cast itself is made once, when the divisor is chosen.
 */
const isExact = (divisor: number): string =>
  `round(value * ${divisor}) / ${divisor} = value AND abs(value) < ${SCALED_MAX / divisor}`;

const CHOICES = DIVISORS.map((divisor) => `${isExact(divisor)}, ${divisor}`).join(", ");

const SPLIT_SAMPLES = `
  metric_id, fingerprint, timestamp,
  toUInt16(if(reinterpretAsUInt64(value) = ${NEGATIVE_ZERO}, 0, multiIf(${CHOICES}, 0))) AS divisor,
  toInt64(if(divisor = 0, 0, round(value * divisor))) AS scaled,
  if(divisor = 0, value, 0) AS raw`;

/** The statement whose body is batches of `schema`, for `table` (the schema's own, or one like it). */
export const nativeInsert = (schema: TelemetrySchema, table: string = schema): string => {
  if (schema !== "metric_samples") return `INSERT INTO ${table} FORMAT Native`;
  const columns = TELEMETRY[schema].map(({ name, type }) => `${name} ${type}`).join(", ");
  // Lazy arguments would pick rows out and put them back, which costs more than the few operations that they save (measured: a tenth).
  return `INSERT INTO ${table} (metric_id, fingerprint, timestamp, divisor, scaled, raw)
SELECT ${SPLIT_SAMPLES}
FROM input('${columns}')
SETTINGS short_circuit_function_evaluation = 'disable'
FORMAT Native`;
};
