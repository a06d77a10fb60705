/** What a byte of a log line may be to the scanner; one lookup per byte decides. */
export const SPACE = 1;
export const DIGIT = 2;
export const HEX_LETTER = 4;
export const LETTER = 8;
/** `/` and `\`. */
export const SLASH = 16;
/** May stand inside of a word, but not at its beginning or end: `.`, `-`, `+`. */
export const MARK = 32;
export const NEWLINE = 64;
/** `_`, `~` and `$` are as good as letters. */
export const TIE = 128;

export const ALPHABETIC = HEX_LETTER | LETTER;
export const ALPHANUMERIC = DIGIT | HEX_LETTER | LETTER;
export const IN_WORD = ALPHANUMERIC | SLASH | MARK | TIE;
export const WORD_START = ALPHANUMERIC | SLASH | TIE;

/** Most bytes of words. */
export const PLAIN = ALPHANUMERIC | TIE;

const classOf = (byte: number): number => {
  const char = String.fromCharCode(byte);
  if (byte === 10 || byte === 13) return NEWLINE;
  if (byte <= 32 || byte === 127) return SPACE;
  if (char >= "0" && char <= "9") return DIGIT;
  if (/[a-fA-F]/.test(char)) return HEX_LETTER;
  if (/[g-zG-Z]/.test(char) || byte >= 128) return LETTER;
  if (char === "/" || char === "\\") return SLASH;
  if (char === "." || char === "-" || char === "+") return MARK;
  return char === "_" || char === "~" || char === "$" ? TIE : 0;
};

export const CLASS = Uint8Array.from({ length: 256 }, (_, byte) => classOf(byte));

export const COLON = 58;
export const EQUALS = 61;
export const COMMA = 44;
export const DOT = 46;
export const DASH = 45;
export const PLUS = 43;
export const QUESTION = 63;
export const STAR = 42;
export const QUOTE = 34;
export const ESCAPE = 27;
export const SLASH_BYTE = 47;
export const BACKSLASH = 92;
