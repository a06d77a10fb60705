/**
 * What comes from a host is hostile: an escape sequence in it could answer a terminal's questions with keystrokes, put text into the
 * clipboard, or paint over what was printed before. See ECMA-48 and xterm's "Control Sequences".
 */

const hex = (character: string): string => {
  const code = character.codePointAt(0) ?? 0;
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`;
};

/** Marks that turn the direction of writing, and those that take no room: text would read other than it is. */
const UNSEEN = /[\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;

/** Control characters made visible, but for line ends and tabs. */
export const visible = (text: string): string =>
  text
    .replace(/\p{Cc}/gu, (character) => (character === "\n" || character === "\t" ? character : hex(character)))
    .replace(UNSEEN, hex);

/** The same on one line. */
export const printable = (text: string): string => visible(text).replace(/[\n\t]/g, " ");

/** CSI functions that draw, by final character: nothing in them makes a terminal answer. SGR, cursor, erase, insert, delete, scroll. */
const DRAWS = new Set("@ABCDEFGHIJKLMPSTXZ`adefmrs".split(""));
/** Private modes that only change how things look here: cursor keys, columns, wrap, blink, cursor, alternate screen. */
const MODES = new Set(["1", "3", "6", "7", "12", "25", "47", "1047", "1048", "1049"]);
/** Save, restore, keypad, index, next line, reverse index, tab stop. */
const SIMPLE = new Set("78=>DEHM".split(""));
/** BS, HT, LF, VT, FF, CR, SO, SI, BEL. */
const PLAIN = new Set("\b\t\n\v\f\r\x0e\x0f\x07".split(""));
/** Longer than this no honest sequence is; what follows is text again. */
const SEQUENCE_CHARS_MAX = 4_096;

type State = "text" | "escape" | "csi" | "string" | "charset";

/** Whether a sequence `ESC [ body final` only draws. */
const isDrawing = (body: string, final: string): boolean => {
  if (/^[0-9;:]*$/.test(body))
    return DRAWS.has(final) || (final === "u" && body === "") || final === "l" || final === "h";
  return (
    /^\?[0-9;]*$/.test(body) &&
    "hl".includes(final) &&
    body
      .slice(1)
      .split(";")
      .every((mode) => MODES.has(mode))
  );
};

/**
 * Lets text and what draws through, and leaves out everything else: what a terminal would answer (device attributes, status and colour
 * queries), clipboard, titles, links, mouse and paste modes. Sequences may be cut anywhere between two pieces.
 */
export const drawingOnly = (): { write(text: string): string; readonly leftOut: number } => {
  let state: State = "text";
  let held = "";
  let leftOut = 0;
  const drop = (): string => {
    leftOut += 1;
    held = "";
    state = "text";
    return "";
  };
  const pass = (text: string): string => {
    held = "";
    state = "text";
    return text;
  };
  const inText = (character: string): string => {
    if (character === "\x1b") {
      state = "escape";
      return "";
    }
    if (!/\p{Cc}/u.test(character) || PLAIN.has(character)) return character;
    return drop();
  };
  const inEscape = (character: string): string => {
    if (character === "[") state = "csi";
    else if ("]PX^_".includes(character)) state = "string";
    else if ("()*+".includes(character)) {
      state = "charset";
      held = character;
    } else if (character === "\x1b") return drop() + inText(character);
    else return SIMPLE.has(character) ? pass(`\x1b${character}`) : drop();
    return "";
  };
  const inCsi = (character: string): string => {
    if (character === "\x1b") return drop() + inText(character);
    if (/[\x20-\x3f]/.test(character)) {
      held += character;
      return held.length > SEQUENCE_CHARS_MAX ? drop() : "";
    }
    return isDrawing(held, character) ? pass(`\x1b[${held}${character}`) : drop();
  };
  /** OSC, DCS, SOS, PM, APC: up to BEL or ST (ESC \). None of them draws. */
  const inString = (character: string): string => {
    const isEnd = character === "\x07" || character === "\x9c" || (character === "\\" && held.endsWith("\x1b"));
    held = held.slice(-1) + character;
    return isEnd ? drop() : "";
  };
  const inCharset = (character: string): string =>
    /[0-9A-Z]/.test(character) ? pass(`\x1b${held}${character}`) : drop();
  const next = { text: inText, escape: inEscape, csi: inCsi, string: inString, charset: inCharset };
  return {
    write: (text) => {
      let shown = "";
      for (const character of text) shown += next[state](character);
      return shown;
    },
    get leftOut() {
      return leftOut;
    },
  };
};

const ESC = 0x1b;
const BEL = 0x07;

/**
 * Of an interactive session everything passes, bytes as they are, but for what would fill the clipboard (OSC 52) behind somebody's back.
 * An OSC is held until its number is known.
 */
export const clipboardless = (): { write(bytes: Buffer): Buffer } => {
  let held: number[] = [];
  let isSwallowing = false;
  const swallow = (byte: number): void => {
    const isEnd = byte === BEL || (byte === 0x5c && held.at(-1) === ESC);
    held = isEnd ? [] : [byte];
    isSwallowing = !isEnd;
  };
  const next = (byte: number): readonly number[] => {
    if (isSwallowing) {
      swallow(byte);
      return [];
    }
    if (held.length === 0 && byte !== ESC) return [byte];
    if (byte === ESC) {
      const before = held;
      held = [byte];
      return before;
    }
    held.push(byte);
    const text = String.fromCharCode(...held.slice(1));
    if (/^\]0*52;$/.test(text)) {
      held = [];
      isSwallowing = true;
      return [];
    }
    // It may still become one.
    if (/^\]0{0,16}5?2?$/.test(text)) return [];
    const passed = held;
    held = [];
    return passed;
  };
  return {
    write: (bytes) => {
      const passed: number[] = [];
      for (const byte of bytes) for (const one of next(byte)) passed.push(one);
      return Buffer.from(passed);
    },
  };
};

/** Back to how a terminal looks by itself: main screen, cursor, colours, wrap, keypad, character set. */
export const AS_IT_WAS = "\x1b[?1049l\x1b[?25h\x1b[0m\x1b[?7h\x1b[?1l\x1b>\x1b(B\x0f\x1b[r";
