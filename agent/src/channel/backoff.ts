/** Half fixed, half random (RFC 8085 asks for jitter; a fleet must not come back all at once). */
export const backOffMs = (options: {
  readonly failures: number;
  readonly minMs: number;
  readonly maxMs: number;
  readonly random: () => number;
}): number => {
  const ceiling = Math.min(options.maxMs, options.minMs * 2 ** Math.min(options.failures, 30));
  return ceiling / 2 + (options.random() * ceiling) / 2;
};
