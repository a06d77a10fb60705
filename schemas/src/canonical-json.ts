/** Printable ASCII but for quotation mark and backslash: stands for itself. */
const PLAIN = /^[ !#-[\]-~]*$/;
/** Longer than that, JSON.stringify is quicker than the look. */
const PLAIN_CHARS_MAX = 128;

/**
 * RFC 8785 (JSON Canonicalization Scheme): keys in the order of their UTF-16 code units, no white space, numbers as ECMAScript
 * writes them. Throws a TypeError on what JSON cannot say (NaN, infinities, functions, lone surrogates).
 */
export const canonicalJson = (value: unknown): string => {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new TypeError(`not a JSON number: ${value}`);
    return JSON.stringify(value);
  }
  if (typeof value === "string") return canonicalText(value);
  if (Array.isArray(value)) {
    let items = "";
    // By index, so that a hole is found like any other undefined.
    for (let at = 0; at < value.length; at += 1) items += `${at === 0 ? "" : ","}${canonicalJson(value[at])}`;
    return `[${items}]`;
  }
  if (typeof value === "object") return canonicalObject(value as Readonly<Record<string, unknown>>);
  throw new TypeError(`not a JSON value: ${typeof value}`);
};

const canonicalText = (text: string): string => {
  if (text.length <= PLAIN_CHARS_MAX && PLAIN.test(text)) return `"${text}"`;
  if (!text.isWellFormed()) throw new TypeError("a string with a lone surrogate has no canonical form");
  return JSON.stringify(text);
};

/** Once per command, over a dozen members: without a list of pairs for each object it takes half the time. */
const canonicalObject = (value: Readonly<Record<string, unknown>>): string => {
  let members = "";
  for (const key of Object.keys(value).sort()) {
    const member = value[key];
    if (member !== undefined) members += `${members === "" ? "" : ","}${canonicalText(key)}:${canonicalJson(member)}`;
  }
  return `{${members}}`;
};

/** The same for what others wrote: what has no canonical form (a lone surrogate in it), or is nested deeper than the stack, is a flaw. */
export const readCanonical = (value: unknown): { readonly json: string } | { readonly flaw: string } => {
  try {
    return { json: canonicalJson(value) };
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) return { flaw: error.message };
    throw error;
  }
};
