import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { labelsMap, MATCHING_SERIES, METRIC_ID, RangeParams, SeriesParams } from "./range-params.ts";

/** Series of one answer: 5 weeks of hours of each are some ten megabytes. */
export const HOURS_PAGE_MAX = 500;

const FINGERPRINT = z.string().regex(/^([0-9a-f]{16})?$/, "want 16 hexadecimal digits");

const Params = z
  .strictObject({
    metric_name: SeriesParams.shape.metric_name,
    labels: SeriesParams.shape.labels,
    ...RangeParams.shape,
    /** Only these series; empty asks for all. */
    fingerprints: z.array(FINGERPRINT.min(16)).max(1000).default([]),
    /** The last series of the page before; empty begins. */
    after_fingerprint: FINGERPRINT.default(""),
    limit: z.int().min(1).max(HOURS_PAGE_MAX).default(HOURS_PAGE_MAX),
  })
  .transform(({ labels, ...params }) => ({
    ...params,
    labels: labelsMap(labels),
    host_name: "",
    service_name: "",
    fingerprint: "",
  }));

/** Hours since 1970, ascending; no array holds null: an hour without a value has no entry. */
const Hours = z.array(z.int());
const Values = z.array(z.number());

const ROWS = `
  FROM metric_hours
  WHERE metric_id = ${METRIC_ID}
    AND fingerprint IN (SELECT fingerprint FROM series)
    AND if(empty({fingerprints:Array(String)}), true, has({fingerprints:Array(String)}, lower(leftPad(hex(fingerprint), 16, '0'))))
    AND if({after_fingerprint:String} = '', true, fingerprint > reinterpretAsUInt64(reverse(unhex({after_fingerprint:String}))))
    AND hour >= toDateTime(intDiv({from_unix_ms:Int64}, 1000)) AND hour < toDateTime(intDiv({to_unix_ms:Int64}, 1000))`;

/** Every matching series by the hour, a page at a time in the order of fingerprints: what forecasts look at. */
export const metricHours = defineQuery({
  name: "metric_hours",
  params: Params,
  rowsMax: HOURS_PAGE_MAX,
  row: z.strictObject({
    fingerprint: z.string(),
    metric_name: z.string(),
    kind: z.string(),
    unit: z.string(),
    host_name: z.string(),
    service_name: z.string(),
    labels: z.record(z.string(), z.string()),
    hours: Hours,
    means: Values,
  }),
  sql: `
WITH
  series AS (${MATCHING_SERIES}),
  newest AS (
    SELECT
      fingerprint,
      intDiv(toUnixTimestamp(hour), 3600) AS hour_number,
      argMax(mean, version) AS hour_mean,
      argMax(minutes, version) AS hour_minutes
    ${ROWS}
    GROUP BY fingerprint, hour_number
    HAVING hour_minutes > 0
  ),
  pages AS (
    SELECT fingerprint, arraySort(groupArray((hour_number, hour_mean))) AS points
    FROM newest
    GROUP BY fingerprint
    ORDER BY fingerprint
    LIMIT {limit:UInt32}
  )
SELECT
  lower(leftPad(hex(pages.fingerprint), 16, '0')) AS fingerprint,
  {metric_name:String} AS metric_name,
  series.kind AS kind,
  if(series.kind = 'delta', series.unit || '/s', series.unit) AS unit,
  series.attributes['host.name'] AS host_name,
  series.attributes['service.name'] AS service_name,
  series.attributes AS labels,
  arrayMap(point -> point.1, pages.points) AS hours,
  arrayMap(point -> point.2, pages.points) AS means
FROM pages
INNER JOIN series ON series.fingerprint = pages.fingerprint
ORDER BY pages.fingerprint`,
});

/** Minutes that an hour must have to tell what the hour was like. */
const MINUTES_MIN = 30;

/** The robust summary of every hour of every matching series, for whole fleets in one statement a page: what baselines learn from. */
export const metricHourBands = defineQuery({
  name: "metric_hour_bands",
  params: Params,
  rowsMax: HOURS_PAGE_MAX,
  row: z.strictObject({ fingerprint: z.string(), hours: Hours, lows: Values, medians: Values, highs: Values }),
  sql: `
WITH
  series AS (${MATCHING_SERIES}),
  newest AS (
    SELECT
      fingerprint,
      intDiv(toUnixTimestamp(hour), 3600) AS hour_number,
      argMax((low, median, high), version) AS hour_band,
      argMax(minutes, version) AS hour_minutes
    ${ROWS}
    GROUP BY fingerprint, hour_number
    HAVING hour_minutes >= ${MINUTES_MIN}
  ),
  pages AS (
    SELECT fingerprint, arraySort(groupArray((hour_number, hour_band))) AS points
    FROM newest
    GROUP BY fingerprint
    ORDER BY fingerprint
    LIMIT {limit:UInt32}
  )
SELECT
  lower(leftPad(hex(pages.fingerprint), 16, '0')) AS fingerprint,
  arrayMap(point -> point.1, points) AS hours,
  arrayMap(point -> point.2.1, points) AS lows,
  arrayMap(point -> point.2.2, points) AS medians,
  arrayMap(point -> point.2.3, points) AS highs
FROM pages
ORDER BY pages.fingerprint`,
});
