import { isOpen, type LineTemplate } from "./line-template.ts";
import { DELIMITER, NUMBER, WORD } from "./token-kind.ts";
import { UNIT } from "./vocabulary.ts";

/*
 * Lines of another shape that say the same: lists of other lengths, an address with its port and a name without, and values that are said
 * again between brackets, "512 bytes (0.5 KB)".
 */

/** Fewer words are no proof that two lines say the same. */
const WORDS_MIN = 2;

/** What binds the variable behind it to the one before it: a comma, and the colon between an address and its port. */
const isBond = ({ kinds, texts, gaps }: LineTemplate, at: number): boolean =>
  kinds[at] === DELIMITER &&
  isOpen(kinds[at + 1]) &&
  (texts[at] === "," || (texts[at] === ":" && gaps[at] === 0 && gaps[at + 1] === 0));

const isUnit = ({ flags }: LineTemplate, at: number): boolean => ((flags[at] ?? 0) & UNIT) !== 0;

/** "<1 sec" where else there is "00:02". */
const isLess = ({ kinds, texts, gaps }: LineTemplate, at: number): boolean =>
  kinds[at] === DELIMITER && texts[at] === "<" && gaps[at] === 1 && gaps[at + 1] === 0 && kinds[at + 1] === NUMBER;

const isComma = ({ kinds, texts }: LineTemplate, at: number): boolean => kinds[at] === DELIMITER && texts[at] === ",";

/** Where brackets end that hold only variables and their units; -1 when there are none at this place. */
const bracketsEnd = (template: LineTemplate, start: number): number => {
  const { kinds, texts, gaps } = template;
  if (texts[start] !== "(" || kinds[start] !== DELIMITER || gaps[start] !== 1) return -1;
  let at = start + 1;
  while (isOpen(kinds[at]) || isComma(template, at) || isUnit(template, at)) at++;
  return at > start + 1 && texts[at] === ")" ? at : -1;
};

/** 53 bits of what the lines say, however long their lists are; null when they have too few words to be compared so. */
export const variantKey = (template: LineTemplate): number | null => {
  const { kinds, hashes } = template;
  let [hash, other, words] = [0x811c9dc5 | 0, 0x1b873593, 0];
  let isInList = false;
  for (let at = 0; at < kinds.length; at++) {
    const end = bracketsEnd(template, at);
    if (end >= 0) {
      at = end;
      continue;
    }
    const isVariable = isOpen(kinds[at]);
    if (isInList && (isVariable || isBond(template, at) || isUnit(template, at))) continue;
    if (isLess(template, at)) continue;
    isInList = isVariable;
    if (kinds[at] === WORD) words++;
    const value = isVariable ? 1 : (hashes[at] as number);
    hash = Math.imul(hash ^ value, 0x01000193);
    other = Math.imul(other ^ value, 0x85ebca6b) + 1;
  }
  return words < WORDS_MIN ? null : (hash >>> 0) * 2_097_152 + (other >>> 11);
};
