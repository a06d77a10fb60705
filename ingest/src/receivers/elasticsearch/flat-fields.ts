import { setText } from "../otlp/any-value.ts";

/** Objects and arrays within one another; Elasticsearch's own default (index.mapping.depth.limit). */
export const DEPTH_MAX = 20;

/** Elasticsearch's own default (index.mapping.total_fields.limit). */
export const FIELDS_MAX = 1000;

type Fields = Readonly<Record<string, unknown>>;

/**
 * A document's fields by dotted name, nested or dotted alike, as text: arrays as JSON, null left out.
 * @returns why not, for a document that is nested too deeply or has too many fields.
 */
export const flatFields = (document: Fields): Record<string, string> | string => {
  const flat: Flat = { fields: {}, count: 0 };
  return flatten(document, "", 1, flat) ?? flat.fields;
};

interface Flat {
  readonly fields: Record<string, string>;
  count: number;
}

const TOO_DEEP = `the document is nested deeper than ${DEPTH_MAX} levels`;
const TOO_MANY = `the document has more than ${FIELDS_MAX} fields`;

/** null, or why not. */
const flatten = (fields: Fields, prefix: string, depth: number, flat: Flat): string | null => {
  if (depth > DEPTH_MAX) return TOO_DEEP;
  for (const [name, value] of Object.entries(fields)) {
    if (value === null) continue;
    const path = prefix + name;
    if (typeof value === "object" && !Array.isArray(value)) {
      const refusal = flatten(value as Fields, `${path}.`, depth + 1, flat);
      if (refusal !== null) return refusal;
      continue;
    }
    if (!isWithin(value, depth)) return TOO_DEEP;
    if (++flat.count > FIELDS_MAX) return TOO_MANY;
    setText(flat.fields, path, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  return null;
};

const isWithin = (value: unknown, depth: number): boolean => {
  if (typeof value !== "object" || value === null) return true;
  return depth <= DEPTH_MAX && Object.values(value).every((inner) => isWithin(inner, depth + 1));
};
