const SHOWN_MAX = 80;

const shown = (value: unknown): string => {
  const text = value === undefined ? "missing" : JSON.stringify(value);
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text;
};

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null;

/** Where two values of JSON differ first, with both values, in words; null: nowhere. */
export const firstDifference = (there: unknown, here: unknown, path = ""): string | null => {
  if (isObject(there) && isObject(here) && Array.isArray(there) === Array.isArray(here)) {
    for (const key of new Set([...Object.keys(there), ...Object.keys(here)])) {
      const found = firstDifference(there[key], here[key], path === "" ? key : `${path}.${key}`);
      if (found !== null) return found;
    }
    return null;
  }
  return Object.is(there, here) ? null : `${path} is ${shown(there)} there, ${shown(here)} here`;
};
