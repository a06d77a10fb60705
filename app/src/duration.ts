const UNITS_MS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;

/** `90s`, `30m`, `12h`, `7d`, `2w` in milliseconds; null for anything else. */
export const parseDurationMs = (text: string): number | null => {
  const [, count, unit] = /^(\d{1,6})([smhdw])$/.exec(text) ?? [];
  return count === undefined ? null : Number(count) * UNITS_MS[unit as keyof typeof UNITS_MS];
};
