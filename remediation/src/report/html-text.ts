import { printable } from "./safe-text.ts";

/** Text that is HTML already: only `html` makes it, and everything else that is put into one is escaped. */
export class Html {
  readonly markup: string;
  constructor(markup: string) {
    this.markup = markup;
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
  "`": "&#96;",
};

const escaped = (value: string): string =>
  printable(value).replace(/[&<>"'`]/g, (character) => ESCAPES[character] ?? "");

type Part = Html | string | number | null | readonly Part[];

const render = (part: Part): string => {
  if (part === null) return "";
  if (part instanceof Html) return part.markup;
  if (typeof part === "string" || typeof part === "number") return escaped(String(part));
  return part.map(render).join("");
};

export const html = (strings: TemplateStringsArray, ...parts: readonly Part[]): Html =>
  new Html(strings.reduce((markup, string, index) => markup + string + render(parts[index] ?? null), ""));
