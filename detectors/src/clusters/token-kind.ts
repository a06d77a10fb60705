/** What a token of a log line is. From NUMBER on it is a variable by its form alone; below it is text, which only evidence makes a variable. */
export const DELIMITER = 0;
export const WORD = 1;
/** A word of letters with one or two digits, a name rather than a number: a little evidence makes it a variable. */
export const NAME = 2;
/** The value that is missing in `key=`. */
export const EMPTY = 3;
/** A variable because its values differ. */
export const WILDCARD = 4;
export const NUMBER = 8;
export const TIME = 9;
export const DURATION = 10;
export const SIZE = 11;
export const IP = 12;
export const PATH = 13;
export const URL = 14;
export const HEX = 15;
export const ID = 16;
export const HOST = 17;
/** true, false, null. */
export const LITERAL = 18;

const NAMES: Readonly<Record<number, string>> = {
  [NUMBER]: "number",
  [TIME]: "time",
  [DURATION]: "duration",
  [SIZE]: "size",
  [IP]: "ip",
  [PATH]: "path",
  [URL]: "url",
  [HEX]: "hex",
  [ID]: "id",
  [HOST]: "host",
  [LITERAL]: "literal",
};

export const isVariable = (kind: number): boolean => kind >= NUMBER;

/** The name of a variable's type as the outside knows it. */
export const typeName = (kind: number): string => NAMES[kind] ?? "word";
