import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { clipboardless, drawingOnly, printable, visible } from "./terminal-text.ts";

/** Each makes a terminal answer, or does something to it that outlives the text. */
const ATTACKS = [
  { name: "puts text into the clipboard (OSC 52)", text: "\x1b]52;c;cm0gLXJmIC8K\x07" },
  { name: "puts text into the clipboard, ended by ST", text: "\x1b]52;c;cm0gLXJmIC8K\x1b\\" },
  { name: "asks for device attributes", text: "\x1b[c" },
  { name: "asks for secondary device attributes", text: "\x1b[>0c" },
  { name: "asks where the cursor is", text: "\x1b[6n" },
  { name: "asks for the version", text: "\x1b[>q" },
  { name: "asks for the title, which a title before had filled", text: "\x1b]2;rm -rf ~\x07\x1b[21t" },
  { name: "asks for a colour", text: "\x1b]11;?\x07" },
  { name: "asks for a setting (DECRQSS)", text: "\x1bP$qm\x1b\\" },
  { name: "asks for a termcap entry", text: "\x1bP+q544e\x1b\\" },
  { name: "asks for a mode (DECRQM)", text: "\x1b[?2026$p" },
  { name: "asks who is there (ENQ)", text: "\x05" },
  { name: "turns on the mouse", text: "\x1b[?1003h" },
  { name: "turns on the mouse among harmless modes", text: "\x1b[?25;1000h" },
  { name: "turns on bracketed paste", text: "\x1b[?2004h" },
  { name: "hides a link", text: "\x1b]8;;http://evil.example\x1b\\" },
  { name: "prints (media copy)", text: "\x1b[5i" },
  { name: "defines keys (DECUDK)", text: "\x1bP1;1|17/726d0a\x1b\\" },
  { name: "speaks in 8-bit controls", text: "\u009b6n" },
  { name: "speaks in 8-bit strings", text: "\u009d52;c;eA==\u009c" },
  { name: "asks for the keyboard's mode", text: "\x1b[?u" },
  { name: "makes a screenful of answers by repetition", text: "x\x1b[9999999b" },
  { name: "is reset", text: "\x1bc" },
];
const ESC = "\x1b";
/** Anything but what draws by itself. */
const ESCAPES = /[^\P{Cc}\b\t\n\v\f\r]/u;
const ANSWERED = new RegExp(`${ESC}\\](?!$)|${ESC}P|${ESC}\\[[0-9;?>$]*[cnqtpiub]`);

describe("text of a host outside a session", () => {
  it.each(ATTACKS)("cannot act on a terminal that it $name", ({ text }) => {
    expect(visible(`a${text}b`)).not.toMatch(/\p{Cc}/u);
    expect(visible(text)).toContain("\\x");
  });

  it("keeps line ends, tabs and what people write, and shows carriage returns", () => {
    expect(visible("größe\t1\n漢字 🙂\r\n")).toBe("größe\t1\n漢字 🙂\\x0d\n");
    expect(printable("a\nb")).toBe("a b");
  });

  it("shows what turns the direction of writing", () => {
    expect(visible("user\u202etxt.exe")).toBe("user\\u{202e}txt.exe");
  });

  it("holds no control character, whatever it was", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(visible(text)).not.toMatch(/[^\P{Cc}\n\t]/u);
      }),
    );
  });
});

describe("an interactive session", () => {
  const through = (bytes: string, size: number): string => {
    const screen = clipboardless();
    const all = Buffer.from(bytes);
    const shown: Buffer[] = [];
    for (let at = 0; at < all.length; at += size) shown.push(screen.write(all.subarray(at, at + size)));
    return Buffer.concat(shown).toString("utf8");
  };

  it.each([1, 2, 5, 1000])("fills no clipboard, however its bytes are cut (%i at a time)", (size) => {
    expect(through("a\x1b]52;c;cm0=\x07b\x1b]052;c;eA==\x1b\\c\x1b]0;title\x07d\x1b[6nö", size)).toBe(
      "abc\x1b]0;title\x07d\x1b[6nö",
    );
  });
});

describe("a transcript that is played", () => {
  it.each(ATTACKS)("does not act on a terminal that it $name", ({ text }) => {
    const screen = drawingOnly();
    const shown = screen.write(`a${text}b`);
    expect(shown.replaceAll(`${ESC}[?25h`, "")).not.toMatch(ESCAPES);
    expect(shown.startsWith("a") && shown.endsWith("b")).toBe(true);
    expect(screen.leftOut).toBeGreaterThan(0);
  });

  it("draws as it did: colours, cursor, erasing, alternate screen, line drawing", () => {
    const drawn =
      "\x1b[1;31mred\x1b[0m\x1b[2J\x1b[3;4H\x1b[?1049h\x1b[?25l\x1b(0qqq\x1b(B\x1b7\x1b8\r\n\x1b[38:2::1:2:3m";
    const screen = drawingOnly();
    expect(screen.write(drawn)).toBe(drawn);
    expect(screen.leftOut).toBe(0);
  });

  it("is the same however its pieces are cut", () => {
    const attack = fc.constantFrom(
      ...ATTACKS.map(({ text }) => text),
      "\x1b[31m",
      "text",
      "\x1b",
      "[",
      "6n",
      "\x1b]",
      "\\",
    );
    fc.assert(
      fc.property(fc.array(attack, { maxLength: 12 }), fc.nat(7), (parts, size) => {
        const text = parts.join("");
        const whole = drawingOnly().write(text);
        const cut = drawingOnly();
        let shown = "";
        for (let at = 0; at < text.length; at += size + 1) shown += cut.write(text.slice(at, at + size + 1));
        expect(shown).toBe(whole);
        expect(whole).not.toMatch(ANSWERED);
      }),
    );
  });
});
