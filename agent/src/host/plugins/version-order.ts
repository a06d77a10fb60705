/** Semantic Versioning 2.0.0, 11: negative when `a` comes before `b`. */
export const compareVersions = (a: string, b: string): number => {
  const [one, other] = [partsOf(a), partsOf(b)];
  for (let at = 0; at < 3; at++) {
    const difference = (one.numbers[at] ?? 0) - (other.numbers[at] ?? 0);
    if (difference !== 0) return difference;
  }
  // A pre-release comes before its release.
  if (one.pre.length === 0 || other.pre.length === 0) return other.pre.length - one.pre.length;
  for (let at = 0; at < Math.max(one.pre.length, other.pre.length); at++) {
    const difference = compareIdentifiers(one.pre[at], other.pre[at]);
    if (difference !== 0) return difference;
  }
  return 0;
};

const partsOf = (version: string): { numbers: number[]; pre: string[] } => {
  const dash = version.indexOf("-");
  const [core, pre] = dash === -1 ? [version, ""] : [version.slice(0, dash), version.slice(dash + 1)];
  return { numbers: core.split(".").map(Number), pre: pre === "" ? [] : pre.split(".") };
};

const isNumeric = (identifier: string): boolean => /^\d+$/.test(identifier);

/** Numbers before words, fewer identifiers before more. */
const compareIdentifiers = (a: string | undefined, b: string | undefined): number => {
  if (a === undefined || b === undefined) return a === b ? 0 : a === undefined ? -1 : 1;
  if (isNumeric(a) && isNumeric(b)) return Number(a) - Number(b);
  if (isNumeric(a) !== isNumeric(b)) return isNumeric(a) ? -1 : 1;
  return a === b ? 0 : a < b ? -1 : 1;
};
