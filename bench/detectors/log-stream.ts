/** A stream of made-up log lines: some hundred templates, of which a few are frequent, each with slots for what varies. */

const TEMPLATES = 400;
/** With every chunk so many templates go and as many come. */
const DRIFT_TEMPLATES = 20;
const SLOT_SHARE = 0.35;
const WORDS =
  "request session worker cache queue index replica segment cursor batch token packet channel buffer snapshot journal lease shard " +
  "client server gateway backend listener scheduler controller resolver handler collector exporter broker leader follower peer node " +
  "started stopped opened closed accepted rejected created removed loaded flushed synced expired renewed committed aborted retried " +
  "while after before during within without because from into for with on at by of the a its all no new old slow late stale primary";

const PEOPLE =
  "alice bob carol dave erin frank grace heidi ivan judy mallory niaj olivia peggy rupert sybil trent victor walter wendy".split(
    " ",
  );

/** A small generator (Marsaglia 2003, xorshift32): the same stream on every machine. */
const uniformFrom = (seed: number): (() => number) => {
  let state = Math.imul(seed + 1, 0x9e3779b1) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
};

type Uniform = () => number;
type Slot = (uniform: Uniform) => string;

const below = (uniform: Uniform, limit: number): number => Math.floor(uniform() * limit);
const pick = <T>(uniform: Uniform, from: readonly T[]): T => from[below(uniform, from.length)] as T;
const hex = (uniform: Uniform, digits: number): string =>
  Array.from({ length: digits }, () => below(uniform, 16).toString(16)).join("");
const two = (value: number): string => String(value).padStart(2, "0");

const SLOTS: readonly Slot[] = [
  (uniform) => String(below(uniform, 100_000)),
  (uniform) => (uniform() * 1000).toFixed(3),
  (uniform) => [10, 0, 0, 0].map((least) => least + below(uniform, 200)).join("."),
  (uniform) => `10.2.${below(uniform, 250)}.${below(uniform, 250)}:${1024 + below(uniform, 60_000)}`,
  (uniform) => `0x${hex(uniform, 8)}`,
  (uniform) => [8, 4, 4, 4, 12].map((digits) => hex(uniform, digits)).join("-"),
  (uniform) => `/var/lib/app/${hex(uniform, 6)}/part-${below(uniform, 900)}.dat`,
  (uniform) => `${below(uniform, 5000)}ms`,
  (uniform) => `${two(below(uniform, 24))}:${two(below(uniform, 60))}:${two(below(uniform, 60))}`,
  (uniform) => `user=${pick(uniform, PEOPLE)}`,
  (uniform) => `status=${100 + below(uniform, 500)}`,
  (uniform) => `blk_${below(uniform, 1_000_000_000)}`,
  (uniform) => `[${below(uniform, 64)}]`,
];

const templateFrom = (seed: number): readonly (string | Slot)[] => {
  const uniform = uniformFrom(seed);
  const words = WORDS.split(" ");
  const length = 3 + below(uniform, 14);
  return Array.from({ length }, (_, at) => {
    if (at > 0 && uniform() < SLOT_SHARE) return pick(uniform, SLOTS);
    return pick(uniform, words) + (uniform() < 0.08 ? ":" : "");
  });
};

/** Views of the lines of one text, as a batch has them. */
export const linesOf = (bytes: Buffer): Buffer[] => {
  const lines: Buffer[] = [];
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.indexOf(10, start);
    lines.push(bytes.subarray(start, end < 0 ? bytes.length : end));
    start = end < 0 ? bytes.length : end + 1;
  }
  return lines;
};

/** The chunk's lines; a chunk shares all but DRIFT_TEMPLATES of its templates with the one before it. */
export const linesOfChunk = (chunk: number, lines: number): Buffer[] => {
  const uniform = uniformFrom(chunk + 1_000_003);
  const templates = Array.from({ length: TEMPLATES }, (_, at) => templateFrom(chunk * DRIFT_TEMPLATES + at));
  const texts = Array.from({ length: lines }, () => {
    // Few templates make most lines, as in real logs: the third power of a uniform number.
    const template = templates[Math.floor(uniform() ** 3 * TEMPLATES)] as readonly (string | Slot)[];
    return template.map((part) => (typeof part === "string" ? part : part(uniform))).join(" ");
  });
  return linesOf(Buffer.from(texts.join("\n")));
};
