export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

export const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;

export const rounded = (value: number, decimals = 3): number => Number(value.toFixed(decimals));

export const thousands = (rate: number): string => `${Math.round(rate / 1000)} k`.padStart(9);
