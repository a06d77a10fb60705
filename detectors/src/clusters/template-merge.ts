import { isProven, type LineTemplate } from "./line-template.ts";
import { DELIMITER, EMPTY, isVariable, NAME, NUMBER, WILDCARD, WORD } from "./token-kind.ts";
import { ACCOUNT, NAMELIKE, NAMING, PROTECTED, TELLING, UNIT } from "./vocabulary.ts";

/*
 * When two or more templates are one. All have the same marks in the same places; they differ in some words. Whether a word varies is decided
 * by how many values it has had and by where it stands, after the common words and their frequencies of Brain (Yu et al. 2023) and the
 * similarity of Drain (He et al. 2017), with what the vocabulary protects never given up.
 */

/** Distinct values that make a place a variable, when they are names or a value is expected there. */
const VALUES_OF_NAMES = 3;
/** When they are plain words. */
const VALUES_OF_WORDS = 4;
/** What a line begins with tells mostly what it is about. */
const VALUES_AT_START = 16;

/** At least so many words of text must stay for each word that is given up. */
const STAYING_PER_GIVEN = 1;

const isText = (kind: number): boolean => kind === WORD || kind === NAME;

export interface Differences {
  readonly differing: number[];
  /** True when a protected word would have to give way. */
  readonly isProtected: boolean;
}

/** Where two templates of one shape differ. */
export const differences = (one: LineTemplate, other: LineTemplate): Differences => {
  const differing: number[] = [];
  const { kinds, hashes, flags } = one;
  let given = 0;
  for (let at = 0; at < kinds.length; at++) {
    const kind = kinds[at] as number;
    if (kind === other.kinds[at] && hashes[at] === other.hashes[at]) continue;
    differing.push(at);
    if (!isProven(one, at) && !isProven(other, at)) given |= (flags[at] as number) | (other.flags[at] as number);
  }
  return { differing, isProtected: (given & PROTECTED) !== 0 };
};

/** The word that a value stands behind: `key=`, `key: `, `"key":"`; -1 for none. */
const keyOf = ({ kinds, texts }: LineTemplate, at: number): number => {
  let isKey = false;
  for (let before = at - 1; before >= 0; before--) {
    if (kinds[before] !== DELIMITER) return isKey ? before : -1;
    if (texts[before] === "=" || texts[before] === ":") isKey = true;
    else if (texts[before] !== '"' && texts[before] !== "'") return -1;
  }
  return -1;
};

const CLOSES: Readonly<Record<string, string>> = { "[": "]", "(": ")", '"': '"', "'": "'", "<": ">", "`": "`" };

const FREE = 0;
const EXPECTED = 1;
const UNKNOWN = 2;
const TOLD = 3;

/** What a place says of whether a variable stands there: a value behind `=`; one behind a colon, alone between quotes or brackets, or behind a noun that names what follows. */
const placeOf = (template: LineTemplate, at: number): number => {
  const { kinds, texts, gaps, flags } = template;
  const key = keyOf(template, at);
  if (key >= 0 && ((flags[key] as number) & TELLING) !== 0) return TOLD;
  const before = kinds[at - 1] === DELIMITER ? (texts[at - 1] ?? "") : "";
  if (before === "=" || (key >= 0 && key < at - 2 && texts[key + 1] === "=")) return FREE;
  if (before === ":" && gaps[at] === 0) return EXPECTED;
  if (CLOSES[before] !== undefined && texts[at + 1] === CLOSES[before]) return EXPECTED;
  const noun = key >= 0 ? key : kinds[at - 1] === DELIMITER ? -1 : at - 1;
  return noun >= 0 && ((flags[noun] as number) & NAMING) !== 0 ? EXPECTED : UNKNOWN;
};

interface Spread {
  values: number;
  /** Values that speak for a variable by themselves. */
  free: number;
  namelike: number;
}

/** The unit of the number before it. */
const isUnitPlace = ({ kinds, flags }: LineTemplate, at: number): boolean =>
  ((flags[at] as number) & UNIT) !== 0 && kinds[at - 1] === NUMBER;

/** A variable by its form, a missing value, a name with a number, a unit, an account. */
const isFree = (template: LineTemplate, at: number): boolean => {
  const kind = template.kinds[at] as number;
  if (isVariable(kind) || kind === WILDCARD || kind === EMPTY || kind === NAME) return true;
  return ((template.flags[at] as number) & ACCOUNT) !== 0 || isUnitPlace(template, at);
};

const spreadAt = (group: readonly LineTemplate[], at: number): Spread => {
  const seen = new Set<number>();
  const spread: Spread = { values: 0, free: 0, namelike: 0 };
  for (const template of group) {
    const { kinds, hashes, flags } = template;
    const kind = kinds[at] as number;
    const value = (hashes[at] as number) * 32 + kind;
    if (seen.has(value)) continue;
    seen.add(value);
    spread.values += kind === WILDCARD ? (template.values.get(at)?.length ?? 1) : 1;
    if (isFree(template, at)) spread.free++;
    if (((flags[at] as number) & NAMELIKE) !== 0) spread.namelike++;
  }
  return spread;
};

const isVariablePlace = (group: readonly LineTemplate[], at: number, first: number): boolean => {
  const { values, free, namelike } = spreadAt(group, at);
  const place = placeOf(group[0] as LineTemplate, at);
  if (free > 0 || place === FREE) return true;
  if (place === EXPECTED) return values >= VALUES_OF_NAMES;
  if (place === TOLD || at === first) return values >= VALUES_AT_START;
  return values >= (namelike * 2 > values ? VALUES_OF_NAMES : VALUES_OF_WORDS);
};

/** True when the templates of a group, which differ in these places only, are one template. */
export const isOneTemplate = (group: readonly LineTemplate[], places: readonly number[]): boolean => {
  const sample = group[0] as LineTemplate;
  let staying = 0;
  let first = -1;
  for (let at = 0; at < sample.kinds.length; at++) {
    if (first < 0 && sample.kinds[at] !== DELIMITER) first = at;
    if (isText(sample.kinds[at] as number) && !places.includes(at)) staying++;
  }
  const given = places.filter((at) => group.some((template) => isText(template.kinds[at] as number))).length;
  if (staying < given * STAYING_PER_GIVEN || staying === 0) return false;
  return places.every((at) => isVariablePlace(group, at, first));
};

/** So few values in so many lines are states rather than names; where a value is expected, they may be few. */
export const isEnumeration = (template: LineTemplate, at: number): boolean => {
  const values = template.values.get(at) ?? [];
  return (
    values.length > 0 &&
    values.length <= VALUES_OF_WORDS &&
    values.every(({ kind, flags }) => kind === WORD && (flags & (ACCOUNT | UNIT)) === 0) &&
    placeOf(template, at) >= UNKNOWN
  );
};
