/** ISO 8601 with up to nine digits after the second; without a zone it is UTC, as Elasticsearch has it (`strict_date_optional_time_nanos`). */
const ISO = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(?:[.,](\d{1,9})\d*)?)? ?(Z|[+-]\d\d(?::?\d\d)?)?$/;
const EPOCH_MILLISECONDS = /^(-?\d{1,15})(?:\.(\d{1,6})\d*)?$/;

const NS_PER_MS = 1_000_000n;

/** A date field's text as nanoseconds since 1970: ISO 8601, or milliseconds since 1970. null when it is neither. */
export const dateNanoseconds = (text: string): bigint | null => {
  const epoch = EPOCH_MILLISECONDS.exec(text);
  if (epoch !== null) return BigInt(epoch[1] ?? "0") * NS_PER_MS + BigInt((epoch[2] ?? "").padEnd(6, "0"));
  const iso = ISO.exec(text);
  if (iso === null) return null;
  const [, date = "", minutes = "00:00", seconds = ":00", fraction = "", zone = "Z"] = iso;
  const unixMs = Date.parse(`${date}T${minutes}${seconds}${zoneOf(zone)}`);
  if (Number.isNaN(unixMs)) return null;
  return BigInt(unixMs) * NS_PER_MS + BigInt(fraction.padEnd(9, "0"));
};

/** JavaScript wants +02:00 where others write +0200 or +02. */
const zoneOf = (zone: string): string =>
  zone === "Z" ? zone : `${zone.slice(0, 3)}:${zone.length === 3 ? "00" : zone.slice(-2)}`;
