const NS_PER_MS = 1_000_000n;
const HOUR_MS = 3_600_000;
/** Offsets of a zone that are remembered, by hour. */
const OFFSETS_MAX = 1000;

const RFC_3339 =
  /^(\d{4})-(\d\d)-(\d\d)T([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d{1,9}))?(?:Z|([+-])([01]\d|2[0-3]):?([0-5]\d))$/;

/** Nanoseconds since 1970, or null. */
export const rfc3339Nano = (text: string): bigint | null => {
  const match = RFC_3339.exec(text);
  if (match === null) return null;
  const [, year, month, day, hour, minute, second, fraction = "", sign, offsetHour, offsetMinute] = match;
  const wallMs = wallClockMs([year, month, day, hour, minute, second].map(Number));
  if (wallMs === null) return null;
  const offsetMs = sign === undefined ? 0 : (Number(offsetHour) * 60 + Number(offsetMinute)) * 60_000;
  const unixMs = wallMs - (sign === "-" ? -offsetMs : offsetMs);
  return unixMs < 0 ? null : BigInt(unixMs) * NS_PER_MS + BigInt(fraction.padEnd(9, "0"));
};

/** Null for a day that its month does not have: Date would go on into the next. */
const wallClockMs = ([year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0]: readonly number[]):
  | number
  | null => {
  const ms = Date.UTC(year, month - 1, day, hour, minute, second);
  return new Date(ms).getUTCDate() === day && new Date(ms).getUTCMonth() === month - 1 ? ms : null;
};

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** Reads the times of RFC 3164: `Nov 21 09:00:00`, in a zone that only the configuration knows. */
export class BsdTime {
  readonly #format: Intl.DateTimeFormat | null;
  readonly #offsets = new Map<number, number>();

  constructor(timeZone: string) {
    this.#format =
      timeZone === "UTC"
        ? null
        : new Intl.DateTimeFormat("en-US", {
            timeZone,
            hourCycle: "h23",
            year: "numeric",
            month: "numeric",
            day: "numeric",
            hour: "numeric",
            minute: "numeric",
            second: "numeric",
          });
  }

  /** Of the years around now the one that is nearest: a message of New Year's Eve may come in January. Nanoseconds, or null. */
  nano(
    month: string,
    clock: { day: number; hour: number; minute: number; second: number },
    nowUnixMs: number,
  ): bigint | null {
    const thisYear = new Date(nowUnixMs).getUTCFullYear();
    const monthNumber = MONTHS.indexOf(month) + 1;
    let nearest: number | null = null;
    for (const year of [thisYear - 1, thisYear, thisYear + 1]) {
      const wallMs = wallClockMs([year, monthNumber, clock.day, clock.hour, clock.minute, clock.second]);
      if (wallMs === null) continue;
      const unixMs = this.#unixMs(wallMs);
      if (nearest === null || Math.abs(unixMs - nowUnixMs) < Math.abs(nearest - nowUnixMs)) nearest = unixMs;
    }
    return nearest === null ? null : BigInt(nearest) * NS_PER_MS;
  }

  #unixMs(wallMs: number): number {
    const guess = wallMs - this.#offsetMs(wallMs);
    return wallMs - this.#offsetMs(guess);
  }

  #offsetMs(unixMs: number): number {
    if (this.#format === null) return 0;
    const hour = Math.floor(unixMs / HOUR_MS);
    const known = this.#offsets.get(hour);
    if (known !== undefined) return known;
    if (this.#offsets.size >= OFFSETS_MAX) this.#offsets.clear();
    const at = hour * HOUR_MS;
    const parts = Object.fromEntries(this.#format.formatToParts(at).map(({ type, value }) => [type, Number(value)]));
    const { year = 0, month = 1, day = 1, hour: hours = 0, minute = 0, second = 0 } = parts;
    const offsetMs = Date.UTC(year, month - 1, day, hours, minute, second) - at;
    this.#offsets.set(hour, offsetMs);
    return offsetMs;
  }
}
