export type Labels = Readonly<Record<string, string>>;

type Requirement =
  | { readonly op: "in" | "notin"; readonly key: string; readonly values: ReadonlySet<string> }
  | { readonly op: "exists" | "absent"; readonly key: string };

/** What is wrong, and at which column (from 1) of the expression. */
export interface LabelProblem {
  readonly at: number;
  readonly problem: string;
}

/** Requirements of one expression; a person writes a handful. */
const REQUIREMENTS_MAX = 64;
const VALUES_MAX = 256;
const KEY_CHARS_MAX = 63;
const VALUE_CHARS_MAX = 253;

const SPACE = /[ \t\r\n]*/y;
/** A name, perhaps behind a DNS prefix and a slash. */
const KEY = /(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?\/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?/y;
const VALUE = /(?:[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?)?/y;
const WORD_NEXT = /[A-Za-z0-9_.:/-]/;

class Reader {
  #at = 0;
  readonly #text: string;
  constructor(text: string) {
    this.#text = text;
  }

  fail(problem: string, at = this.#at): never {
    throw new LabelError({ at: at + 1, problem });
  }

  get at(): number {
    return this.#at;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  skipSpace(): void {
    this.#match(SPACE);
  }

  take(token: string): boolean {
    this.skipSpace();
    if (!this.#text.startsWith(token, this.#at)) return false;
    this.#at += token.length;
    return true;
  }

  /** A whole word, so that `inside` is not read as `in`. */
  takeWord(word: string): boolean {
    this.skipSpace();
    const next = this.#text[this.#at + word.length];
    if (!this.#text.startsWith(word, this.#at) || (next !== undefined && WORD_NEXT.test(next))) return false;
    this.#at += word.length;
    return true;
  }

  key(): string {
    this.skipSpace();
    const from = this.#at;
    const key = this.#match(KEY);
    if (key === "") this.fail(`want a label's name, got ${this.#seen()}`);
    if (key.length > KEY_CHARS_MAX) this.fail(`a label's name has at most ${KEY_CHARS_MAX} characters`, from);
    this.#assertWordEnd("a label's name");
    return key;
  }

  /** May be empty, as in `tier=`. */
  value(): string {
    this.skipSpace();
    const from = this.#at;
    const value = this.#match(VALUE);
    if (value.length > VALUE_CHARS_MAX) this.fail(`a label's value has at most ${VALUE_CHARS_MAX} characters`, from);
    this.#assertWordEnd("a label's value");
    return value;
  }

  seen(): string {
    this.skipSpace();
    return this.#seen();
  }

  #assertWordEnd(what: string): void {
    const next = this.#text[this.#at];
    if (next !== undefined && WORD_NEXT.test(next)) this.fail(`${what} begins and ends with a letter or a digit`);
  }

  #seen(): string {
    return this.isAtEnd ? "the end" : JSON.stringify(this.#text.slice(this.#at, this.#at + 16));
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? "";
    this.#at += found.length;
    return found;
  }
}

class LabelError extends Error {
  override readonly name = "LabelError";
  readonly found: LabelProblem;
  constructor(found: LabelProblem) {
    super(`column ${found.at}: ${found.problem}`);
    this.found = found;
  }
}

const valuesOf = (reader: Reader): ReadonlySet<string> => {
  if (!reader.take("(")) reader.fail(`want ( and a list of values, got ${reader.seen()}`);
  const values = new Set<string>();
  for (;;) {
    values.add(reader.value());
    if (values.size > VALUES_MAX) reader.fail(`at most ${VALUES_MAX} values`);
    if (reader.take(")")) return values;
    if (!reader.take(",")) reader.fail(`want , or ) in the list of values, got ${reader.seen()}`);
  }
};

const requirementOf = (reader: Reader): Requirement => {
  if (reader.take("!")) return { op: "absent", key: reader.key() };
  const key = reader.key();
  if (reader.take("!=")) return { op: "notin", key, values: new Set([reader.value()]) };
  if (reader.take("==") || reader.take("=")) return { op: "in", key, values: new Set([reader.value()]) };
  if (reader.takeWord("in")) return { op: "in", key, values: valuesOf(reader) };
  if (reader.takeWord("notin")) return { op: "notin", key, values: valuesOf(reader) };
  return { op: "exists", key };
};

const requirementsOf = (expression: string): readonly Requirement[] => {
  const reader = new Reader(expression);
  reader.skipSpace();
  if (reader.isAtEnd) reader.fail("empty; every agent is *");
  if (reader.take("*")) {
    reader.skipSpace();
    if (!reader.isAtEnd) reader.fail(`* stands alone, got ${reader.seen()} behind it`);
    return [];
  }
  const requirements: Requirement[] = [];
  for (;;) {
    requirements.push(requirementOf(reader));
    if (requirements.length > REQUIREMENTS_MAX) reader.fail(`at most ${REQUIREMENTS_MAX} requirements`);
    reader.skipSpace();
    if (reader.isAtEnd) return requirements;
    const at = reader.at;
    if (!reader.take(",")) reader.fail(`want =, ==, !=, in, notin, a comma or the end, got ${reader.seen()}`, at);
  }
};

const meets = (labels: Labels, requirement: Requirement): boolean => {
  const value = Object.hasOwn(labels, requirement.key) ? labels[requirement.key] : undefined;
  switch (requirement.op) {
    case "exists":
      return value !== undefined;
    case "absent":
      return value === undefined;
    case "in":
      return value !== undefined && requirement.values.has(value);
    case "notin":
      // As in Kubernetes: who has no such label has not that value either.
      return value === undefined || !requirement.values.has(value);
  }
};

/**
 * Which labels an expression selects: Kubernetes' syntax of label selectors
 * (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors), and `*` for all. Values may hold colons.
 */
export const labelSelector = (expression: string): ((labels: Labels) => boolean) | LabelProblem => {
  try {
    const requirements = requirementsOf(expression);
    return (labels) => requirements.every((requirement) => meets(labels, requirement));
  } catch (thrown) {
    if (thrown instanceof LabelError) return thrown.found;
    throw thrown;
  }
};
